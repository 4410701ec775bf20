/**
 * What one listener answers: its own routes, and everything else through the proxy. Each request passes the same gates
 * in the same order: head, browser, address limit, key, body.
 *
 * Paths are looked up in a table instead of an `HttpRouter`: what is gated through must keep its path byte for byte,
 * with any method, and a router that merges slashes and decodes segments decides on another path than it forwards.
 */
import { Context, Effect, Exit, Result, Scope } from "effect"
import { HttpServerRequest, HttpServerResponse } from "effect/http"
import type { GatewayError } from "../domain/Errors.ts"
import { type ProxyResponse, refusePath, type UpstreamBody } from "../proxy/Proxy.ts"
import { type BegunRequest, headersOfAll, makeRequests, type Requests, stopping } from "./BegunRequest.ts"
import { preflightHeaders } from "./BrowserGuard.ts"
import { type FastPath, makeFastPath } from "./FastPath.ts"
import type { Admitted } from "./Gates.ts"
import { incomingOf } from "./Incoming.ts"
import { boundsOf, packed, readBody, readUpload, streamBody, takenAs } from "./RequestBody.ts"
import { failure } from "./Responses.ts"
import { answerOwn, type FindRoute, wrongMethod } from "./routes/BuiltinRoutes.ts"
import type { Binding } from "./server/Bindings.ts"
import type { ListenerContext, RequestWays } from "./server/Listeners.ts"
import { deliver, refuseUnanswered } from "./server/ResponseWriter.ts"
import type { RequestHandler } from "./server/Server.ts"
import { switchProtocols, watchLeaving } from "./server/Upgrades.ts"
import { isUpgrade } from "./server/WebSocketHead.ts"

type Response = HttpServerResponse.HttpServerResponse

/** What is answered at one address, by what is `current` there; that may change from one request to the next. */
export const makeRequestHandlers = Effect.map(
  makeRequests,
  (requests) =>
    (context: ListenerContext, find: (binding: Binding) => FindRoute): RequestWays => {
      const fastPath = makeFastPath(requests, context, find)
      return { handler: requestHandler(requests, context, find, fastPath), fastWay: fastPath }
    }
)

const requestHandler = (
  requests: Requests,
  context: ListenerContext,
  find: (binding: Binding) => FindRoute,
  fastPath: FastPath
): RequestHandler => {
  const { connections } = context

  const bodyOf = (
    { arrival: { incoming, listener, snapshot }, payload }: BegunRequest,
    request: HttpServerRequest.HttpServerRequest
  ): Effect.Effect<UpstreamBody, GatewayError> => {
    const taken = takenAs(incoming)
    if (taken === "none") return noBody
    const bounds = boundsOf(snapshot, listener)
    if (taken === "stream") return streamBody(incoming, request.stream, bounds)
    if (taken !== "whole") return readUpload(incoming, request.stream, bounds, requests, payload, taken.boundary)
    const unreadable = incoming.endpoint?.requiresModel === true ? packed(incoming) : undefined
    return unreadable === undefined ? readBody(incoming, bounds, requests, payload) : Effect.fail(unreadable)
  }

  /** What a backend answers, up to its last byte. */
  const answerProxied = (
    begun: BegunRequest,
    admitted: Admitted,
    request: HttpServerRequest.HttpServerRequest
  ): Effect.Effect<Response, GatewayError> => {
    const { arrival } = begun
    const { incoming, listener } = arrival
    const { method, path } = incoming
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
      Object.assign(answer.headers, headersOfAll(arrival, connections))
      return answer.tunnel === undefined ? deliver(incoming, answer) : switchProtocols(incoming, answer, answer.tunnel)
    }
    return Effect.flatMap(bodyOf(begun, request), (body) =>
      requests.proxy.handle(requests.proxyRequestOf(begun, admitted, body), onAnswer)
    )
  }

  /** Everything between the gates and the answer. */
  const answer = (
    begun: BegunRequest,
    request: HttpServerRequest.HttpServerRequest
  ): Effect.Effect<Response, GatewayError> => {
    const { arrival, connection, gated } = begun
    const { incoming, listener, own, snapshot } = arrival
    if (Result.isFailure(gated)) return Effect.fail(gated.failure)
    const passed = gated.success
    if (passed._tag === "Preflight") {
      const headers = { ...preflightHeaders(incoming), ...headersOfAll(arrival, connections) }
      return Effect.succeed(HttpServerResponse.empty({ headers }))
    }
    if (own !== undefined) {
      const answered = answerOwn(own, { incoming, snapshot, listener, key: passed.key })
      return Effect.map(answered, HttpServerResponse.setHeaders(headersOfAll(arrival, connections)))
    }
    if (connection.late) return Effect.fail(stopping())
    return answerProxied(begun, passed, request)
  }

  const serve = (begun: BegunRequest, answering: Effect.Effect<Response, GatewayError>, scope: Scope.Scope) => {
    const { arrival, report } = begun
    const { incoming, listener } = arrival
    const ended = (exit: Exit.Exit<unknown, unknown>) => Effect.sync(() => requests.ended(begun, context, exit))
    const refused = (error: GatewayError) =>
      Effect.sync(() => {
        requests.reporter.refused(listener, report, error)
        const headers = headersOfAll(arrival, connections)
        // RFC 9110, 15.5.9: what did not come in time is not waited for any longer.
        if (error.status === 408 && incoming.message.httpVersionMajor === 1) headers["connection"] = "close"
        return HttpServerResponse.setHeaders(failure(error, incoming.path), headers)
      })
    // Its client may have left; where it is still there, the gateway has ended the request.
    const whole = Effect.onExitPrimitive(Effect.catch(answering, refused), (exit) => {
      if (connections.closing && Exit.hasInterrupts(exit)) {
        refuseUnanswered(incoming, stopping(), headersOfAll(arrival, connections))
      }
      return undefined
    })
    // The only one of its scope, and not by `Effect.addFinalizer`: several cost 3 µs, a copy of the context 16 µs.
    return Effect.andThen(Scope.addFinalizerExit(scope, ended), whole)
  }

  return Effect.contextWith((services: Context.Context<HttpServerRequest.HttpServerRequest | Scope.Scope>) => {
    const request = Context.get(services, HttpServerRequest.HttpServerRequest)
    const scope = Context.get(services, Scope.Scope)
    const incoming = incomingOf(request, requests.clock.now())
    const handedOver = fastPath.handedOver(incoming.source.node().message)
    if (handedOver !== undefined) {
      const { begun, rest } = handedOver
      return serve(begun, rest ?? answer(begun, request), scope)
    }
    const begun = requests.begin(incoming, context.current(), connections, find)
    return serve(begun, answer(begun, request), scope)
  })
}

/** Methods whose answer is the request as it came: the backend's credential would come back with it. */
const echoing = /^trac[ek]$/i

const usual = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

const noBody: Effect.Effect<UpstreamBody> = Effect.undefined
