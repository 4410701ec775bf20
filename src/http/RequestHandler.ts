/**
 * What one listener answers: its own routes, and everything else through the proxy. Each request passes the same gates
 * in the same order: head, browser, address limit, key, body.
 *
 * Paths are looked up in a table instead of an `HttpRouter`: what is gated through must keep its path byte for byte,
 * with any method, and a router that merges slashes and decodes segments decides on another path than it forwards.
 */
import { Context, Duration, Effect, Exit, Result, Scope } from "effect"
import { HttpServerRequest, HttpServerResponse } from "effect/http"
import type { ApiKey } from "../domain/ApiKey.ts"
import { type GatewayError, ShuttingDown } from "../domain/Errors.ts"
import type { Listener } from "../domain/Listener.ts"
import { MonotonicClock } from "../domain/MonotonicClock.ts"
import {
  boundaryOf,
  Proxy,
  type ProxyRequest,
  type ProxyResponse,
  RequestReport,
  refusePath,
  type UpstreamBody
} from "../proxy/Proxy.ts"
import type { Snapshot } from "../registry/Registry.ts"
import { Timers } from "../resilience/Timers.ts"
import { Tracing } from "../telemetry/Telemetry.ts"
import { HeldBodies, HeldBody } from "./BodyReading.ts"
import { corsHeaders, preflightHeaders } from "./BrowserGuard.ts"
import { type ClientAddress, makeClientAddress } from "./ClientAddress.ts"
import { type Admitted, type Arrival, arrivalOf, type GateOutcome, makeGates } from "./Gates.ts"
import { type Incoming, readIncoming } from "./Incoming.ts"
import { makeReporter, type Reporter } from "./Reporter.ts"
import { hasBody, packed, readBody, readUpload, streamBody } from "./RequestBody.ts"
import { beginSpan, withoutSampledFlag } from "./RequestSpan.ts"
import { failure } from "./Responses.ts"
import { answerOwn, type FindRoute, wrongMethod } from "./routes/BuiltinRoutes.ts"
import type { Binding } from "./server/Bindings.ts"
import type { ListenerContext } from "./server/Listeners.ts"
import { deliver, refuseUnanswered } from "./server/ResponseWriter.ts"
import type { RequestHandler } from "./server/Server.ts"
import { hangUp, switchProtocols, watchLeaving } from "./server/Upgrades.ts"
import { isUpgrade } from "./server/WebSocketHead.ts"

type Response = HttpServerResponse.HttpServerResponse

/** What is kept of a request from its head to its end. */
interface RequestRecord {
  readonly report: RequestReport
  readonly payload: HeldBody
}

/** What is answered at one address, by what is `current` there; that may change from one request to the next. */
export const makeRequestHandlers = Effect.gen(function* () {
  const clock = yield* MonotonicClock
  const timers = yield* Timers
  const proxy = yield* Proxy
  const tracing = yield* Tracing
  const reporter = yield* makeReporter
  const clientAddress = makeClientAddress()
  const runGates = yield* makeGates(clientAddress)
  const bodies = new HeldBodies()
  const services = { bodies, clientAddress, clock, proxy, reporter, runGates, timers, tracing }
  return (context: ListenerContext, find: (binding: Binding) => FindRoute): RequestHandler =>
    requestHandler(services, context, find)
})

interface HandlerParts {
  readonly bodies: HeldBodies
  readonly clientAddress: ClientAddress
  readonly clock: MonotonicClock["Service"]
  readonly proxy: Proxy["Service"]
  readonly reporter: Reporter
  readonly runGates: (arrival: Arrival) => GateOutcome
  readonly timers: Timers["Service"]
  readonly tracing: Tracing["Service"]
}

const requestHandler = (
  parts: HandlerParts,
  { connections, current }: ListenerContext,
  find: (binding: Binding) => FindRoute
): RequestHandler => {
  const { bodies, clientAddress, clock, proxy, reporter, runGates, tracing } = parts

  /** Whether it is ours to follow what a request says of its tracing. */
  const isTrusted = ({ incoming, listener }: Arrival, key: ApiKey | undefined): boolean =>
    key !== undefined || clientAddress.isTrustedPeer(incoming, listener)

  const bodyOf = (
    incoming: Incoming,
    { config: { limits } }: Snapshot,
    { connectTimeout }: Listener,
    payload: HeldBody
  ): Effect.Effect<UpstreamBody, GatewayError> => {
    const endpoint = incoming.method === "POST" ? incoming.endpoint : undefined
    const isRequired = endpoint?.requiresModel === true
    if (!isRequired && !hasBody(incoming)) return noBody
    const unreadable = isRequired ? packed(incoming) : undefined
    if (unreadable !== undefined) return Effect.fail(unreadable)
    const bounds = {
      limit: limits.maxBodyBytes,
      uploadLimit: limits.maxUploadBytes,
      // One fits always.
      together: Math.max(limits.maxBufferedBytes, limits.maxBodyBytes),
      patience: Duration.toMillis(connectTimeout) || Number.POSITIVE_INFINITY
    }
    const type = incoming.header("content-type") ?? ""
    if (isRequired || json.test(type) || (endpoint !== undefined && unsaid.test(type))) {
      return readBody(incoming, bounds, parts, payload)
    }
    const boundary = incoming.method === "POST" ? boundaryOf(type) : undefined
    return boundary === undefined
      ? streamBody(incoming, bounds)
      : readUpload(incoming, bounds, parts, payload, boundary)
  }

  /** What every answer carries, whatever gives it. */
  const headersOfAll = ({ incoming, listener, open }: Arrival): Record<string, string> => {
    const headers = corsHeaders(incoming, listener, open)
    headers["x-request-id"] = incoming.id
    // Of HTTP/2 the whole connection says it, in a frame of its own.
    if (connections.closing && incoming.message.httpVersionMajor === 1) headers["connection"] = "close"
    return headers
  }

  /** What a backend answers, up to its last byte. */
  const answerProxied = (
    arrival: Arrival,
    { address, key }: Admitted,
    { payload, report }: RequestRecord
  ): Effect.Effect<Response, GatewayError> => {
    const { incoming, listener, snapshot } = arrival
    const { header, id, method, path, query } = incoming
    if (echoing.test(method)) return wrongMethod(usual)
    const isSwitching = isUpgrade(incoming.message)
    if (incoming.endpoint?.postOnly === true && method !== "POST" && !isSwitching) return wrongMethod(["POST"])
    const endpoint = method === "POST" ? incoming.endpoint : undefined
    const isInference = endpoint !== undefined || (isSwitching && incoming.endpoint !== undefined)
    const refused = isInference ? undefined : refusePath(listener, method, path)
    if (refused !== undefined) return Effect.fail(refused)
    const arrived = isSwitching ? watchLeaving(incoming.message.socket) : undefined
    const onAnswer = (answer: ProxyResponse) => {
      arrived?.()
      Object.assign(answer.headers, headersOfAll(arrival))
      return answer.tunnel === undefined ? deliver(incoming, answer) : switchProtocols(incoming, answer, answer.tunnel)
    }
    return Effect.flatMap(bodyOf(incoming, snapshot, listener, payload), (body) => {
      payload.body = body
      const raw = incoming.message.rawHeaders
      const isForeign = report.span === undefined && tracing.enabled && !isTrusted(arrival, key)
      const rawHeaders = isForeign ? withoutSampledFlag(raw) : raw
      const request: ProxyRequest = {
        id,
        snapshot,
        listener,
        key,
        address,
        method,
        path,
        endpoint,
        query,
        rawHeaders,
        header,
        upgrade: isSwitching ? "websocket" : undefined,
        payload,
        report
      }
      return proxy.handle(request, onAnswer)
    })
  }

  /** Everything between the gates and the answer. */
  const answer = (
    arrival: Arrival,
    gated: GateOutcome,
    record: RequestRecord,
    late: boolean
  ): Effect.Effect<Response, GatewayError> => {
    const { incoming, listener, own, snapshot } = arrival
    if (Result.isFailure(gated)) return Effect.fail(gated.failure)
    const passed = gated.success
    if (passed._tag === "Preflight") {
      const headers = { ...preflightHeaders(incoming), ...headersOfAll(arrival) }
      return Effect.succeed(HttpServerResponse.empty({ headers }))
    }
    if (own !== undefined) {
      const answered = answerOwn(own, { incoming, snapshot, listener, key: passed.key })
      return Effect.map(answered, HttpServerResponse.setHeaders(headersOfAll(arrival)))
    }
    if (late) return Effect.fail(stopping())
    return answerProxied(arrival, passed, record)
  }

  return Effect.contextWith((context: Context.Context<HttpServerRequest.HttpServerRequest | Scope.Scope>) => {
    const request = Context.get(context, HttpServerRequest.HttpServerRequest)
    const incoming = readIncoming(request, clock.now())
    const { binding, snapshot } = current()
    const { listener } = binding
    const own = find(binding)(incoming.path, incoming.method)
    const arrival = arrivalOf(incoming, snapshot, listener, own)
    const report = new RequestReport(incoming.receivedAt)
    const payload = new HeldBody(bodies)
    const gated = runGates(arrival)
    const key = Result.isSuccess(gated) && gated.success._tag === "Admitted" ? gated.success.key : undefined
    if (own === undefined && tracing.enabled) {
      report.span = beginSpan(tracing, incoming, listener, () => isTrusted(arrival, key))
    }
    const connection = connections.begin(incoming.message)
    const ended = (exit: Exit.Exit<unknown, unknown>) =>
      Effect.sync(() => {
        payload.letGo()
        connections.end(connection)
        if (isUpgrade(incoming.message)) hangUp(incoming.message.socket, parts)
        reporter.ended(incoming, listener, own, report, exit)
      })
    const refused = (error: GatewayError) =>
      Effect.sync(() => {
        reporter.refused(listener, report, error)
        return HttpServerResponse.setHeaders(failure(error, incoming.path), headersOfAll(arrival))
      })
    const answered = Effect.catch(answer(arrival, gated, { payload, report }, connection.late), refused)
    // Its client may have left; where it is still there, the gateway has ended the request.
    const whole = Effect.onExitPrimitive(answered, (exit) => {
      if (connections.closing && Exit.hasInterrupts(exit)) {
        refuseUnanswered(incoming, stopping(), headersOfAll(arrival))
      }
      return undefined
    })
    // The only one of its scope, and not by `Effect.addFinalizer`: several cost 3 µs, a copy of the context 16 µs.
    return Effect.andThen(Scope.addFinalizerExit(Context.get(context, Scope.Scope), ended), whole)
  })
}

const json = /^application\/([\w.+-]+\+)?json\b/i

/** What clients send JSON as that do not say so: `curl -d` among them. */
const unsaid = /^(?:$|application\/x-www-form-urlencoded|text\/plain)/i

/** Methods whose answer is the request as it came: the backend's credential would come back with it. */
const echoing = /^trac[ek]$/i

const usual = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

const noBody: Effect.Effect<UpstreamBody> = Effect.undefined

const stopping = () => new ShuttingDown({ message: "The gateway is about to stop. Please try again.", retryAfter: 1 })
