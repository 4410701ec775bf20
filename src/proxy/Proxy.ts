/** The data plane: from a request that may come in to the answer of a backend, or to the gateway's own. */
import { Context, Effect, Layer } from "effect"
import { type GatewayError, RateLimitExceeded } from "../domain/Errors.ts"
import type { Remaining } from "../resilience/RateLimiter.ts"
import type { Router } from "../routing/Router.ts"
import type { Answer } from "./AnswerReading.ts"
import { makeAttempts } from "./Attempts.ts"
import { callsForFallback } from "./Fallback.ts"
import { makePlanner, Plan } from "./Planner.ts"
import type { ProxyRequest } from "./ProxyRequest.ts"
import { gatherServices, type ProxyServices } from "./ProxyServices.ts"
import { makeRelay, type ProxyResponse } from "./Relay.ts"
import type { RequestReport } from "./RequestReport.ts"
import type { RequestState } from "./RequestState.ts"

export { keyInProtocols } from "../protocol/KeyProtocol.ts"
export { type BadMultipart, boundaryOf, MultipartModel } from "../protocol/MultipartModel.ts"
export type { StreamEnd } from "../protocol/StreamError.ts"
export { type BodySink, type UpstreamBody, UpstreamFailed } from "../transport/UpstreamTransport.ts"
export { refusePath } from "./PassThrough.ts"
export type { ModelForm, Payload, ProxyRequest } from "./ProxyRequest.ts"
export type { ProxyResponse } from "./Relay.ts"
export { RequestReport } from "./RequestReport.ts"
export { bodyTooLarge, bodyTooSlow, bodyUnclear } from "./SendOnce.ts"
export type { StreamBody as Relayed } from "./StreamBody.ts"
export type { Tunnel } from "./Tunnel.ts"

export class Proxy extends Context.Service<
  Proxy,
  {
    /** `use` sends the answer; what the request took is given back when that has ended, or was given up. */
    readonly handle: <A, E>(
      request: ProxyRequest,
      use: (answer: ProxyResponse) => Effect.Effect<A, E>
    ) => Effect.Effect<A, E | GatewayError>
    /** What clients of a listener (with a key) can ask for, each name once. */
    readonly models: Router["Service"]["models"]
  }
>()("weir/proxy/Proxy") {
  static readonly layer = Layer.effect(
    Proxy,
    Effect.gen(function* () {
      const services = yield* gatherServices
      const planFor = makePlanner(services)
      const attempts = makeAttempts(services)
      const relay = makeRelay(services)

      /**
       * `board` is told of each flight in the moment that it begins; `before` is the one that has come to nothing. Up to
       * the attempts nothing waits, so that an interruption finds either nothing or the flight. Plain functions, as every
       * request comes by here: a generator for each costs some 2 µs.
       */
      const fly = (
        request: ProxyRequest,
        plan: Plan | GatewayError,
        board: (flight: RequestState) => void,
        before?: RequestState
      ): Effect.Effect<ProxyResponse, GatewayError> => {
        if (!(plan instanceof Plan)) return Effect.fail(plan)
        const { flight, mission } = plan
        board(flight)
        if (before === undefined) {
          const refused = takeLimits(services, request, plan)
          if (refused !== undefined) return Effect.fail(refused)
        } else flight.takeOver(before)
        services.retry.requested(flight.pool)
        /** The plan for another model, where one is to be asked in place of this. */
        const instead = (worth: Answer | GatewayError): Effect.Effect<ProxyResponse, GatewayError> | undefined => {
          note(flight, request.report)
          const isCalledFor = plan.standIn !== undefined && callsForFallback(worth, flight.silences > 0)
          const next = isCalledFor ? plan.standIn() : undefined
          if (next === undefined) return undefined
          services.metrics.retries(flight.pool.name, "fallback")(1)
          return fly(request, next, board, flight)
        }
        return Effect.matchEffect(attempts(mission), {
          onFailure: (error) => instead(error) ?? Effect.fail(error),
          onSuccess: (answer) => {
            const other = instead(answer)
            if (other !== undefined) return other
            const response = relay(mission, answer, request.report)
            // Nobody is asked again: a stream may take minutes, and its prompt would be in memory all the time.
            request.payload.letGo()
            addLimits(flight, response.headers)
            return Effect.succeed(response)
          }
        })
      }
      /** Suspended: what has ended is kept by no frame of what is still to come, and with it the request's body. */
      const answer = (request: ProxyRequest, board: (flight: RequestState) => void) =>
        Effect.suspend(() => {
          const planned = planFor(request)
          return Effect.isEffect(planned)
            ? Effect.flatMap(planned, (plan) => fly(request, plan, board))
            : fly(request, planned, board)
        })
      const handle = <A, E>(request: ProxyRequest, use: (answer: ProxyResponse) => Effect.Effect<A, E>) =>
        Effect.suspend(() => {
          let flight: RequestState | undefined
          const answered = answer(request, (next) => {
            flight = next
          })
          return Effect.onExitPrimitive(Effect.flatMap(answered, use), () => {
            if (flight === undefined) return undefined
            note(flight, request.report)
            flight.release()
            return undefined
          })
        })
      return Proxy.of({ handle, models: services.router.models })
    })
  )
}

/** The key's own limits; what was taken is settled when the flight lands. */
const takeLimits = (
  { limiter, metrics }: ProxyServices,
  { key, listener }: ProxyRequest,
  { flight, tokenEstimate }: Plan
): RateLimitExceeded | undefined => {
  if (key === undefined) return undefined
  const taken = limiter.takeKey(key, tokenEstimate)
  if (taken instanceof RateLimitExceeded) {
    metrics.rateLimited(listener.name, "key")(1)
    return taken
  }
  flight.keyUse = taken
  return undefined
}

/** What is left of a key's limits, in the names of OpenAI's API. */
const addLimits = ({ keyUse }: RequestState, headers: Record<string, string>): void => {
  const add = (kind: string, left: Remaining | undefined) => {
    if (left === undefined) return
    headers[`x-ratelimit-limit-${kind}`] = String(left.limit)
    headers[`x-ratelimit-remaining-${kind}`] = String(left.remaining)
    headers[`x-ratelimit-reset-${kind}`] = `${(left.reset / 1000).toFixed(3)}s`
  }
  add("requests", keyUse?.requests())
  add("tokens", keyUse?.tokens())
}

const note = (flight: RequestState, report: RequestReport): void => {
  report.backend = flight.backend ?? report.backend
  report.attempts = flight.allAttempts
  report.queued = flight.queued
  report.upstream = flight.upstream
}
