/** The data plane: from a request that may come in to the answer of a backend, or to the gateway's own. */
import { Context, Effect, Layer, Result } from "effect"
import type { GatewayError, RateLimitExceeded } from "../domain/Errors.ts"
import { MonotonicClock } from "../domain/MonotonicClock.ts"
import { Admission } from "../resilience/Admission.ts"
import { CircuitBreaker } from "../resilience/CircuitBreaker.ts"
import { RateLimiter } from "../resilience/RateLimiter.ts"
import { RetryPolicy } from "../resilience/RetryPolicy.ts"
import { Timers } from "../resilience/Timers.ts"
import { Router } from "../routing/Router.ts"
import { Metrics, Tracing } from "../telemetry/Telemetry.ts"
import { type Answered, makeAttempts } from "./Attempts.ts"
import { type Continuation, type FastClient, type FastParts, FastRequest } from "./FastRequest.ts"
import { callsForFallback, makePlanner } from "./Planner.ts"
import type { ProxyRequest } from "./ProxyRequest.ts"
import { makeRelay, type ProxyResponse } from "./Relay.ts"
import type { RequestPlan } from "./RequestPlan.ts"
import { RequestState } from "./RequestState.ts"
import type { UpstreamAnswer } from "./UpstreamAnswer.ts"

export { keyInProtocols } from "../protocol/KeyProtocol.ts"
export { type BadMultipart, boundaryOf, MultipartModel } from "../protocol/MultipartModel.ts"
export type { StreamEnd } from "../protocol/StreamError.ts"
export { type BodySink, RequestBodyFailed, type UpstreamBody } from "../transport/UpstreamTransport.ts"
export type { Continuation, FastClient } from "./FastRequest.ts"
export { refusePath } from "./Planner.ts"
export { type ModelForm, type Payload, type ProxyRequest, RequestReport } from "./ProxyRequest.ts"
export type { ProxyResponse } from "./Relay.ts"
export type { BodyListener, StreamBody } from "./StreamBody.ts"
export type { Tunnel } from "./Tunnel.ts"

export class Proxy extends Context.Service<
  Proxy,
  {
    /** `use` sends the answer; what the request took is given back when that has ended, or was given up. */
    readonly handle: <A, E>(
      request: ProxyRequest,
      use: (answer: ProxyResponse) => Effect.Effect<A, E>
    ) => Effect.Effect<A, E | GatewayError>
    /** The same without a fiber, for as long as nothing has to be waited for. */
    readonly begin: (request: ProxyRequest, client: FastClient) => void
    /** What clients of a listener (with a key) can ask for, each name once. */
    readonly models: Router["Service"]["models"]
  }
>()("weir/proxy/Proxy") {
  static readonly layer = Layer.effect(
    Proxy,
    Effect.gen(function* () {
      const admission = yield* Admission
      const breaker = yield* CircuitBreaker
      const clock = yield* MonotonicClock
      const limiter = yield* RateLimiter
      const metrics = yield* Metrics
      const retry = yield* RetryPolicy
      const router = yield* Router
      const timers = yield* Timers
      const tracing = yield* Tracing
      const planner = yield* makePlanner
      const attempts = yield* makeAttempts(planner)
      const relay = yield* makeRelay
      const services = { admission, breaker, clock, metrics, timers, tracing }

      /** The key's own limits; what was taken is settled when the request is over. */
      const takeLimits = (state: RequestState): RateLimitExceeded | undefined => {
        const { key, listener } = state.request
        if (key === undefined) return undefined
        const taken = limiter.takeKey(key, state.plan.tokenEstimate)
        if (Result.isFailure(taken)) {
          metrics.rateLimited({ listener: listener.name, scope: "key" })(1)
          return taken.failure
        }
        state.keyUse = taken.success
        return undefined
      }

      /** The same with the next plan, where another model is to be asked in place of this one. */
      const fallBack = (state: RequestState, outcome: UpstreamAnswer | GatewayError): Answering | undefined => {
        const isCalledFor = callsForFallback(outcome, state.silences > 0)
        const next = isCalledFor ? planner.fallback(state.plan, state.report.attempts) : undefined
        if (next === undefined) return undefined
        metrics.retries({ pool: state.plan.pool.name, reason: "fallback" })(1)
        state.replacePlan(next)
        return begun(state)
      }

      const commit = (state: RequestState, answered: UpstreamAnswer): ProxyResponse => {
        const response = relay(state, answered)
        state.commit()
        addLimits(state, response.headers)
        return response
      }

      /** Plain functions, as every request comes by here: a generator for each costs some 2 µs. */
      const answer = (state: RequestState, answered: Answered): Answering =>
        Effect.matchEffect(answered, {
          onFailure: (error) => fallBack(state, error) ?? Effect.fail(error),
          onSuccess: (answered) => fallBack(state, answered) ?? Effect.succeed(commit(state, answered))
        })

      const begun = (state: RequestState): Answering => {
        retry.requested(state.plan.pool)
        return answer(state, attempts.all(state))
      }

      const serve = (plan: RequestPlan): Continuation => {
        const state = new RequestState(services, plan)
        // Suspended: no frame of what is still to come keeps what has ended, and with it the request's body.
        const answered = Effect.suspend(() => {
          const refused = takeLimits(state)
          return refused === undefined ? begun(state) : Effect.fail(refused)
        })
        return served(state, answered)
      }

      const fastParts: FastParts = {
        attempts,
        answer,
        serve: served,
        commit: (state, answered) =>
          callsForFallback(answered, state.silences > 0) ? undefined : commit(state, answered)
      }

      const begin = (request: ProxyRequest, client: FastClient): void => {
        const planned = planner.plan(request)
        if (Effect.isEffect(planned)) {
          return client.continued((use) => Effect.flatMap(planned, (plan) => serve(plan)(use)))
        }
        if (Result.isFailure(planned)) return client.continued(() => Effect.fail(planned.failure))
        const state = new RequestState(services, planned.success)
        const fast = new FastRequest(fastParts, state, client)
        client.began(fast.release)
        const refused = takeLimits(state)
        if (refused !== undefined) return client.continued(served(state, Effect.fail(refused)))
        retry.requested(state.plan.pool)
        fast.start()
      }

      return Proxy.of({
        handle: (request, use) =>
          Effect.suspend(() => {
            const planned = planner.plan(request)
            if (Effect.isEffect(planned)) return Effect.flatMap(planned, (plan) => serve(plan)(use))
            return Result.isFailure(planned) ? Effect.fail(planned.failure) : serve(planned.success)(use)
          }),
        begin,
        models: router.models
      })
    })
  )
}

type Answering = Effect.Effect<ProxyResponse, GatewayError>

/** To its end, and what it holds is given back. */
const served =
  (state: RequestState, answered: Answering): Continuation =>
  (use) =>
    Effect.onExitPrimitive(Effect.flatMap(answered, use), () => {
      state.release()
      return undefined
    })

/** What is left of a key's limits, in the names of OpenAI's API. */
const addLimits = ({ keyUse }: RequestState, headers: Record<string, string>): void => {
  for (const [kind, { limit, remaining, reset }] of keyUse?.remaining() ?? []) {
    headers[`x-ratelimit-limit-${kind}`] = String(limit)
    headers[`x-ratelimit-remaining-${kind}`] = String(remaining)
    headers[`x-ratelimit-reset-${kind}`] = `${(reset / 1000).toFixed(3)}s`
  }
}
