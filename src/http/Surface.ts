/**
 * What one listener answers: its own routes, and everything else through the proxy. Each request passes the same gates
 * in the same order: head, browser, address limit, key, body.
 *
 * Paths are looked up in a table instead of an `HttpRouter`: what is passed through must keep its path byte for byte,
 * with any method, and a router that merges slashes and decodes segments decides on another path than it forwards.
 */
import { Duration, Effect, Scope } from "effect"
import { HttpServerRequest, HttpServerResponse } from "effect/http"
import type { ApiKey } from "../domain/ApiKey.ts"
import { type GatewayError, InvalidApiKey, ShuttingDown } from "../domain/Errors.ts"
import type { Listener } from "../domain/Listener.ts"
import {
  type Proxy,
  type ProxyRequest,
  type ProxyResponse,
  RequestReport,
  refusePath,
  type UpstreamBody
} from "../proxy/Proxy.ts"
import type { Snapshot } from "../registry/Registry.ts"
import type { Deadlines } from "../resilience/Deadlines.ts"
import type { RateLimiter } from "../resilience/RateLimiter.ts"
import type { Metrics, Tracing } from "../telemetry/Telemetry.ts"
import { failure } from "./Answer.ts"
import { asksForKey, authenticate, authenticateAdmin } from "./Authentication.ts"
import { corsHeaders, isPreflight, preflightHeaders, refuseBrowser } from "./BrowserGuard.ts"
import type { ClientAddress } from "./ClientAddress.ts"
import { deliver } from "./Delivery.ts"
import { type Incoming, readIncoming } from "./Incoming.ts"
import type { Threshold } from "./Listeners.ts"
import { answerOwn, type FindRoute, type OwnRoute, wrongMethod } from "./OwnRoutes.ts"
import type { Place } from "./Places.ts"
import type { Reporter } from "./Reporter.ts"
import { type HeldBodies, HeldBody, hasBody, packed, readBody, streamBody } from "./RequestBody.ts"
import { refuseHead, refuseLargeHead } from "./RequestHead.ts"
import { beginSpan } from "./RequestSpan.ts"
import { hangUp, switchProtocols, watchLeaving } from "./Upgrades.ts"
import { isUpgrade } from "./WebSocketHead.ts"

export interface SurfaceServices {
  readonly proxy: Proxy["Service"]
  readonly limiter: RateLimiter["Service"]
  readonly deadlines: Deadlines["Service"]
  readonly metrics: Metrics["Service"]
  readonly tracing: Tracing["Service"]
  readonly reporter: Reporter
  readonly clientAddress: ClientAddress
  readonly bodies: HeldBodies
}

type Response = HttpServerResponse.HttpServerResponse

/** What is kept of a request from its head to its end. */
interface Visit {
  readonly report: RequestReport
  readonly payload: HeldBody
}

/** What is answered at one address; what holds there may change from one request to the next. */
export const makeSurface = (
  services: SurfaceServices,
  { connections, see }: Threshold,
  find: (place: Place) => FindRoute
) => {
  const { bodies, clientAddress, deadlines, limiter, metrics, proxy, reporter, tracing } = services

  const bodyOf = (
    incoming: Incoming,
    { config: { limits } }: Snapshot,
    { connectTimeout }: Listener,
    payload: HeldBody
  ): Effect.Effect<UpstreamBody, GatewayError> => {
    const bounds = {
      limit: limits.maxBodyBytes,
      // One fits always.
      together: Math.max(limits.maxBufferedBytes, limits.maxBodyBytes),
      patience: Duration.toMillis(connectTimeout) || Number.POSITIVE_INFINITY
    }
    const routed = incoming.method === "POST" && incoming.endpoint?.requiresModel === true
    if (!routed && !hasBody(incoming)) return noBody
    const unreadable = routed ? packed(incoming) : undefined
    if (unreadable !== undefined) return Effect.fail(unreadable)
    const type = incoming.header("content-type") ?? ""
    return routed || /^application\/([\w.+-]+\+)?json\b/i.test(type)
      ? readBody(incoming, bounds, deadlines, payload)
      : Effect.succeed(streamBody(incoming, bounds))
  }

  /** What every answer carries, whoever gives it. */
  const headersOfAll = (incoming: Incoming, listener: Listener): Record<string, string> => {
    const headers = corsHeaders(incoming, listener)
    headers["x-request-id"] = incoming.id
    // Of HTTP/2 the whole connection says it, in a frame of its own.
    if (connections.closing && incoming.message.httpVersionMajor === 1) headers["connection"] = "close"
    return headers
  }

  /** What a backend answers, up to its last byte. */
  const answerProxied = (
    incoming: Incoming,
    snapshot: Snapshot,
    listener: Listener,
    key: ApiKey | undefined,
    address: string,
    { payload, report }: Visit
  ): Effect.Effect<Response, GatewayError> => {
    const { header, id, method, path, query } = incoming
    if (echoing.test(method)) return wrongMethod(usual)
    const isSwitching = isUpgrade(incoming.message)
    if (incoming.endpoint?.postOnly === true && method !== "POST" && !isSwitching) return wrongMethod(["POST"])
    const endpoint = method === "POST" ? incoming.endpoint : undefined
    const refused = endpoint === undefined ? refusePath(listener, method, path) : undefined
    if (refused !== undefined) return Effect.fail(refused)
    const arrived = isSwitching ? watchLeaving(incoming.message.socket) : undefined
    const onAnswer = (answer: ProxyResponse) => {
      arrived?.()
      Object.assign(answer.headers, headersOfAll(incoming, listener))
      return answer.tunnel === undefined ? deliver(incoming, answer) : switchProtocols(incoming, answer, answer.tunnel)
    }
    return Effect.flatMap(bodyOf(incoming, snapshot, listener, payload), (body) => {
      payload.body = body
      const { rawHeaders } = incoming.message
      const asked = endpoint?.requiresModel === true ? endpoint : undefined
      const request: ProxyRequest = {
        id,
        snapshot,
        listener,
        key,
        address,
        method,
        path,
        endpoint: asked,
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

  /** Everything between the arrival of a head and the answer. */
  const pass = (
    incoming: Incoming,
    snapshot: Snapshot,
    listener: Listener,
    own: OwnRoute | undefined,
    visit: Visit,
    late: boolean
  ): Effect.Effect<Response, GatewayError> => {
    const access = own?.access ?? "client"
    const keyed = asksForKey(snapshot, listener)
    const open = access === "admin" ? snapshot.config.admin.token === undefined : !keyed
    const tooLarge = refuseLargeHead(incoming, snapshot.config.limits.maxHeaderBytes)
    const refused = tooLarge ?? refuseHead(incoming) ?? refuseBrowser(incoming, listener, open)
    if (refused !== undefined) return Effect.fail(refused)
    if (isPreflight(incoming)) {
      const headers = { ...preflightHeaders(incoming), ...headersOfAll(incoming, listener) }
      return Effect.succeed(HttpServerResponse.empty({ headers }))
    }
    const address = clientAddress.of(incoming, listener)
    if (access !== "public") {
      const limited = limiter.takeAddress(listener, address)
      if (limited !== undefined) {
        metrics.rateLimited(listener.name, "ip")(1)
        return Effect.fail(limited)
      }
    }
    if (access === "admin") {
      const denied = authenticateAdmin(snapshot, incoming.header)
      if (denied !== undefined) return Effect.fail(denied)
    }
    const key = access === "client" && keyed ? authenticate(snapshot, incoming.header) : undefined
    if (key instanceof InvalidApiKey) return Effect.fail(key)
    if (own !== undefined) {
      const answered = answerOwn(own, { incoming, snapshot, listener, key })
      return Effect.map(answered, HttpServerResponse.setHeaders(headersOfAll(incoming, listener)))
    }
    if (late) return Effect.fail(stopping())
    return answerProxied(incoming, snapshot, listener, key, address, visit)
  }

  return Effect.gen(function* () {
    const incoming = readIncoming(yield* HttpServerRequest.HttpServerRequest, deadlines.now())
    const { place, snapshot } = see()
    const { listener } = place
    const own = find(place)(incoming.path)
    const report = new RequestReport(incoming.receivedAt)
    const payload = new HeldBody(bodies)
    if (own === undefined) report.span = beginSpan(tracing, incoming, listener)
    const visited = connections.begin(incoming.message)
    // The only one of its scope, and not by `Effect.addFinalizer`: several cost 3 µs, a copy of the context 16 µs.
    yield* Scope.addFinalizerExit(yield* Effect.scope, (exit) =>
      Effect.sync(() => {
        payload.letGo()
        connections.end(visited)
        if (isUpgrade(incoming.message)) hangUp(incoming.message.socket, deadlines)
        reporter.ended(incoming, listener, own, report, exit)
      })
    )
    return yield* Effect.catch(pass(incoming, snapshot, listener, own, { payload, report }, visited.late), (error) =>
      Effect.sync(() => {
        reporter.refused(listener, report, error)
        return HttpServerResponse.setHeaders(failure(error, incoming.path), headersOfAll(incoming, listener))
      })
    )
  })
}

/** Methods whose answer is the request as it came: the backend's credential would come back with it. */
const echoing = /^trac[ek]$/i

const usual = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

const noBody: Effect.Effect<UpstreamBody> = Effect.undefined

const stopping = () => new ShuttingDown({ message: "The gateway is about to stop. Please try again.", retryAfter: 1 })
