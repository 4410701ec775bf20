/**
 * One backend asked once: sent, judged, and read until it is known whether the answer is worth keeping. An answer that
 * breaks off before its first output is an attempt that failed.
 */
import { Effect } from "effect"
import type { Outgoing } from "../backend/BackendAdapter.ts"
import { UpstreamFailed, type UpstreamResponse } from "../backend/UpstreamTransport.ts"
import {
  DeadlineExceeded,
  type GatewayError,
  InvalidRequest,
  RequestTimeout,
  RequestTooLarge,
  UpstreamError
} from "../domain/Errors.ts"
import type { Attempt } from "./Attempt.ts"
import { withTraceparent } from "./HeaderHygiene.ts"
import type { Mission } from "./Mission.ts"
import type { ProxyServices } from "./ProxyServices.ts"
import { readAnswer } from "./ReadAnswer.ts"
import { restFor } from "./RetryAfter.ts"

/** An attempt that is not worth keeping, if another one can be made. */
export class AttemptFailed {
  readonly _tag = "AttemptFailed"
  /** Whether another attempt is made. Decided before the retry schedule is asked, so that it sees what follows. */
  again = false
  /** Whether a backend that was not tried can be asked at once; the retry schedule reads it. */
  elsewhere = false
  readonly attempt: Attempt
  readonly reason: string
  readonly failure: UpstreamFailed | undefined
  /** What the backend said, if it said anything; its body was not read. */
  readonly response: UpstreamResponse | undefined
  constructor(
    attempt: Attempt,
    reason: string,
    failure: UpstreamFailed | undefined,
    response: UpstreamResponse | undefined
  ) {
    this.attempt = attempt
    this.reason = reason
    this.failure = failure
    this.response = response
  }
}

export const makeAsk = (services: ProxyServices) => {
  const { adapters, hedging, metrics, registry, transport } = services

  /** `since`: the attempt with which the client began to wait, where this one runs beside it. */
  const ask = Effect.fnUntraced(function* (mission: Mission, attempt: Attempt, since = attempt) {
    const { flight } = mission
    const { member } = attempt
    const { state } = member.backend
    flight.depart(attempt)
    const request = adapters.prepare(
      member,
      flight.pool.config.client,
      traced(mission.outgoing(attempt.lease), attempt.traceparent)
    )
    const sent = transport.send(request, attempt.onStart)
    const response = yield* Effect.catch(sent, (failure) => broken(mission, attempt, failure))
    attempt.arrive(response)
    const verdict = adapters.classify(member.backend.config, response.status)
    if (verdict === "back_pressure" || verdict === "backend_fault") {
      metrics.upstreamErrors(flight.pool.name, state.name, String(response.status))(1)
      // Of two requests that were under way at once, one may have been told of a longer rest.
      const rest = verdict === "back_pressure" ? flight.now() + restFor(response.headers) : 0
      state.restUntil = Math.max(state.restUntil, rest)
      attempt.judge(verdict === "back_pressure" ? "ignored" : "failure")
      return yield* Effect.fail(new AttemptFailed(attempt, String(response.status), undefined, response))
    }
    if (mission.upgrades && verdict === "answered" && !isUpgraded(response)) return yield* notWebSocket(response)
    const answer = yield* readAnswer(mission, attempt, response)
    if (answer instanceof UpstreamFailed) return yield* broken(mission, attempt, answer)
    state.health.delivered(flight.now())
    metrics.upstreamDuration(flight.pool.name, state.name)((attempt.headAt - attempt.sentAt) / 1000)
    // A refusal of the request shows that the backend lives, and nothing of how well or how fast it does its work.
    if (verdict === "answered" && !mission.passedThrough) {
      const now = flight.now()
      state.latency.record(now - attempt.sentAt, now)
      hedging.observed(flight.pool, flight.streaming, now - since.sentAt)
    }
    attempt.judge(verdict === "answered" ? "success" : "ignored")
    return answer
  })

  /** The transport failed before anything was committed. */
  const broken = ({ flight }: Mission, attempt: Attempt, failure: UpstreamFailed) =>
    Effect.suspend((): Effect.Effect<never, AttemptFailed | GatewayError> => {
      const { backend } = attempt.member
      if (attempt.expired === "deadline") return Effect.fail(pastDeadline())
      if (failure.kind === "request_body") return Effect.fail(brokenRequest(failure))
      metrics.upstreamErrors(flight.pool.name, backend.name, failure.kind)(1)
      attempt.tell({}, failure.kind)
      // Connections that were kept too long break by the dozen at once, and what we lack ourselves is lacking for all
      // backends: neither says anything of this one.
      if (failure.kind !== "stale" && failure.kind !== "local") {
        if (failure.kind !== "timeout") backend.state.health.broke(backend.probing)
        attempt.judge("failure")
      }
      return Effect.fail(new AttemptFailed(attempt, failure.kind, failure, undefined))
    })

  /** The client's body came to nothing while it was sent on: nobody else is to blame. */
  const brokenRequest = ({ detail }: UpstreamFailed): GatewayError => {
    if (detail === bodyTooSlow.detail) return new RequestTimeout({ message: "The request's body came too slowly." })
    if (detail !== bodyTooLarge.detail) return new InvalidRequest({ message: "The request's body broke off." })
    const limit = registry.current().config.limits.maxBodyBytes
    return new RequestTooLarge({ message: `The body is larger than the limit of ${limit} bytes.` })
  }

  /** The same for an answer whose head was judged already. */
  const readOn = Effect.fnUntraced(function* (mission: Mission, attempt: Attempt, response: UpstreamResponse) {
    const answer = yield* readAnswer(mission, attempt, response)
    return answer instanceof UpstreamFailed ? yield* broken(mission, attempt, answer) : answer
  })

  return { ask, readOn }
}

const isUpgraded = ({ headers: { upgrade }, socket }: UpstreamResponse): boolean =>
  socket !== undefined && typeof upgrade === "string" && upgrade.toLowerCase() === "websocket"

const notWebSocket = ({ status }: UpstreamResponse) =>
  new UpstreamError({
    message: `The backend does not speak WebSocket at this path: it answered the upgrade with status ${status}.`
  })

/** The same request as part of a trace. */
const traced = (outgoing: Outgoing, traceparent: string | undefined): Outgoing =>
  traceparent === undefined ? outgoing : { ...outgoing, headers: withTraceparent(outgoing.headers, traceparent) }

/** What ends an exchange whose request brings more than it may. */
export const bodyTooLarge = new UpstreamFailed({ kind: "request_body", detail: "too large" })

/** What ends an exchange whose client lets it wait. */
export const bodyTooSlow = new UpstreamFailed({ kind: "request_body", detail: "too slow" })

export const pastDeadline = () => new DeadlineExceeded({ message: "The request's deadline has passed." })
