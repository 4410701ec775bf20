/**
 * One backend asked once: sent, judged, and read until it is known whether the answer is worth keeping. An answer that
 * breaks off before its first output is an attempt that failed.
 */
import { Effect } from "effect"
import { type Outgoing, restFor } from "../backend/BackendAdapter.ts"
import {
  DeadlineExceeded,
  type GatewayError,
  InvalidRequest,
  RequestTimeout,
  RequestTooLarge,
  UpstreamError
} from "../domain/Errors.ts"
import { UpstreamFailed, type UpstreamResponse } from "../transport/UpstreamTransport.ts"
import { type Answer, readAnswer } from "./AnswerReading.ts"
import type { Attempt } from "./Attempt.ts"
import { ErrorInStream } from "./ErrorInStream.ts"
import { withTraceparent } from "./HeaderFilter.ts"
import type { ProxyServices } from "./ProxyServices.ts"
import { saysModelIsMissing } from "./Refusals.ts"
import type { RequestPlan } from "./RequestPlan.ts"
import type { RequestState } from "./RequestState.ts"

/** Why an attempt is not worth keeping, if another one can be made. */
export type WhyFailed =
  /** No answer, or one that broke off before anything was committed. */
  "transport" | "back_pressure" | "backend_fault" | "refused" | "refused_credential"

export class AttemptFailed {
  readonly _tag = "AttemptFailed"
  /** Whether another attempt is made. Decided before the retry schedule is asked, so that it sees what follows. */
  again = false
  /** Whether a backend that was not tried can be asked at once; the retry schedule reads it. */
  elsewhere = false
  readonly attempt: Attempt
  readonly why: WhyFailed
  /** A label for metrics: a status, or a kind of failure. */
  readonly reason: string
  readonly failure: UpstreamFailed | undefined
  /** What the backend said, if it said anything: a head, or an answer that was read already. */
  readonly said: UpstreamResponse | Answer | undefined
  constructor(
    attempt: Attempt,
    why: WhyFailed,
    reason: string,
    failure: UpstreamFailed | undefined,
    said: UpstreamResponse | Answer | undefined
  ) {
    this.attempt = attempt
    this.why = why
    this.reason = reason
    this.failure = failure
    this.said = said
  }

  /** The status of what it said; 0 where it said nothing. */
  get status(): number {
    if (this.said === undefined) return 0
    return "response" in this.said ? this.said.response.status : this.said.status
  }
}

export const makeSendOnce = (services: ProxyServices) => {
  const { adapters, hedging, metrics, registry, transport } = services

  /** `since`: the attempt with which the client began to wait, where this one runs beside it. */
  const sendOnce = (
    mission: RequestPlan,
    attempt: Attempt,
    since = attempt
  ): Effect.Effect<Answer, AttemptFailed | GatewayError> =>
    Effect.suspend(() => {
      const outgoing = mission.outgoing(attempt.lease)
      const hashing = adapters.bodyHash(attempt.member, outgoing)
      return hashing === undefined
        ? send(mission, attempt, since, outgoing, undefined)
        : Effect.flatMap(hashing, (bodyHash) => send(mission, attempt, since, outgoing, bodyHash))
    })

  /** Without a generator, as every request comes by here. */
  const send = (
    mission: RequestPlan,
    attempt: Attempt,
    since: Attempt,
    outgoing: Outgoing,
    bodyHash: string | undefined
  ): Effect.Effect<Answer, AttemptFailed | GatewayError> => {
    const { state: flight } = mission
    flight.sent(attempt)
    const { client } = flight.pool.config
    const request = adapters.prepare(attempt.member, client, traced(outgoing, attempt.traceparent), bodyHash)
    return Effect.matchEffect(transport.send(request, attempt.onStart), {
      onFailure: (failure) => broken(mission, attempt, failure),
      onSuccess: (response) => {
        attempt.arrive(response)
        return judged(mission, attempt, since, response)
      }
    })
  }

  /** What an answer means, and what follows from it for the request and for the backend. */
  const judged = (
    mission: RequestPlan,
    attempt: Attempt,
    since: Attempt,
    response: UpstreamResponse
  ): Effect.Effect<Answer, AttemptFailed | GatewayError> => {
    const verdict = adapters.classify(attempt.member.backend.config, response.status)
    switch (verdict) {
      case "back_pressure":
      case "backend_fault":
        return Effect.fail(refusedByBackend(mission, attempt, verdict, response))
      case "refused_credential":
        return Effect.fail(refusedCredential(mission, attempt, response))
      case "refused":
        return attempt.isByPath
          ? kept(mission, attempt, since, response, "request_fault")
          : refusedRequest(mission, attempt, since, response)
      case "answered":
        return mission.upgrades && !isUpgraded(response)
          ? Effect.fail(notWebSocket(response))
          : kept(mission, attempt, since, response, verdict)
      case "request_fault":
        return kept(mission, attempt, since, response, verdict)
    }
  }

  /** An answer that is passed on, once enough of it is read. One frame and no generator: every request comes by here. */
  const kept = (
    mission: RequestPlan,
    attempt: Attempt,
    since: Attempt,
    response: UpstreamResponse,
    verdict: "answered" | "request_fault"
  ): Effect.Effect<Answer, AttemptFailed | GatewayError> =>
    Effect.flatMap(readAnswer(mission, attempt, response), (answer) => {
      if (answer instanceof UpstreamFailed) return broken(mission, attempt, answer)
      // As if the backend had answered with the status of the error that its stream began with.
      if (answer instanceof ErrorInStream) return judged(mission, attempt, since, answer.response)
      keep(mission, attempt, since, verdict)
      return Effect.succeed(answer)
    })

  const keep = (
    { state: flight, passedThrough }: RequestPlan,
    attempt: Attempt,
    since: Attempt,
    verdict: "answered" | "request_fault"
  ): void => {
    const { state } = attempt.member.backend
    const now = flight.now()
    state.health.delivered(now)
    metrics.upstreamDuration(flight.pool.name, state.name)((attempt.headAt - attempt.sentAt) / 1000)
    if (verdict === "request_fault") {
      // A refusal of the request shows that the backend lives, and nothing of how well or how fast it does its work.
      flight.unresolved.refused()
      return attempt.recordOutcome("ignored")
    }
    flight.unresolved.answeredElsewhere()
    if (flight.model === undefined) return attempt.recordOutcome("ignored")
    state.health.acceptedCredential(flight.model)
    if (!passedThrough) {
      state.latency.record(now - attempt.sentAt, now)
      hedging.observed(flight.pool, flight.streaming, now - since.sentAt)
    }
    attempt.recordOutcome("success")
  }

  const refusedByBackend = (
    { state: flight }: RequestPlan,
    attempt: Attempt,
    verdict: "back_pressure" | "backend_fault",
    response: UpstreamResponse
  ): AttemptFailed => {
    const { state } = attempt.member.backend
    const reason = String(response.status)
    metrics.upstreamErrors(flight.pool.name, state.name, reason)(1)
    if (verdict === "back_pressure") {
      const { isAsked, millis } = restFor(response.headers)
      state.rest(flight.now() + millis, isAsked)
    }
    if (verdict === "back_pressure" || attempt.isByPath) attempt.recordOutcome("ignored")
    else flight.unresolved.add(attempt.failed("failure", reason))
    return new AttemptFailed(attempt, verdict, reason, undefined, response)
  }

  /** No client can mend that, and none must take it for a word about its own key. */
  const refusedCredential = ({ state: flight }: RequestPlan, attempt: Attempt, response: UpstreamResponse) => {
    const { state } = attempt.member.backend
    metrics.upstreamErrors(flight.pool.name, state.name, "401")(1)
    attempt.recordOutcome("ignored")
    if (flight.model === undefined) return credentialRefused()
    if (!state.health.refusedCredential(flight.model, flight.now())) state.refused(flight.model, flight.now())
    return new AttemptFailed(attempt, "refused_credential", "401", undefined, response)
  }

  /** Another backend may take what this one refuses; a 404 says so only where it is about the model. */
  const refusedRequest = Effect.fnUntraced(function* (
    mission: RequestPlan,
    attempt: Attempt,
    since: Attempt,
    response: UpstreamResponse
  ) {
    const answer = yield* readOn(mission, attempt, response)
    const { state: flight } = mission
    const { backend } = attempt.member
    const lacksModel = response.status === 404 && saysModelIsMissing(answer)
    if (!answer.complete || flight.model === undefined || (response.status === 404 && !lacksModel)) {
      keep(mission, attempt, since, "request_fault")
      return answer
    }
    backend.state.health.delivered(flight.now())
    backend.state.refused(flight.model, flight.now())
    if (lacksModel && backend.state.models?.has(flight.model) === true) backend.state.health.lookAgain()
    attempt.recordOutcome("ignored")
    const reason = String(response.status)
    metrics.upstreamErrors(flight.pool.name, backend.name, reason)(1)
    return yield* Effect.fail(new AttemptFailed(attempt, "refused", reason, undefined, answer))
  })

  /** The transport failed before anything was committed. */
  const broken = ({ state: flight }: RequestPlan, attempt: Attempt, failure: UpstreamFailed) =>
    Effect.suspend((): Effect.Effect<never, AttemptFailed | GatewayError> => {
      const { backend } = attempt.member
      if (attempt.expired === "deadline") return Effect.fail(pastDeadline())
      if (failure.kind === "request_body") return Effect.fail(brokenRequest(failure))
      metrics.upstreamErrors(flight.pool.name, backend.name, failure.kind)(1)
      attempt.tell({}, failure.kind)
      blame(flight, attempt, failure)
      return Effect.fail(new AttemptFailed(attempt, "transport", failure.kind, failure, undefined))
    })

  /** The client's body came to nothing while it was sent on: nobody else is to blame. */
  const brokenRequest = ({ detail }: UpstreamFailed): GatewayError => {
    if (detail === bodyTooSlow.detail) return new RequestTimeout({ message: "The request's body came too slowly." })
    if (detail === bodyTooLarge.detail) {
      const limit = registry.current().config.limits.maxUploadBytes
      return new RequestTooLarge({
        message: `The body is larger than the limit of ${limit} bytes (limits.maxUploadBytes).`
      })
    }
    return detail === bodyUnclear.detail
      ? new InvalidRequest({ message: "The upload names its model more than once.", param: "model" })
      : new InvalidRequest({ message: "The request's body broke off." })
  }

  /** The same for an answer whose head was judged already. */
  const readOn = Effect.fnUntraced(function* (
    mission: RequestPlan,
    attempt: Attempt,
    response: UpstreamResponse
  ): Effect.fn.Return<Answer, AttemptFailed | GatewayError> {
    const answer = yield* readAnswer(mission, attempt, response)
    if (answer instanceof UpstreamFailed) return yield* broken(mission, attempt, answer)
    if (answer instanceof ErrorInStream) return yield* readOn(mission, attempt, answer.response)
    return answer
  })

  return { ask: sendOnce, readOn }
}

const isUpgraded = ({ headers: { upgrade }, socket }: UpstreamResponse): boolean =>
  socket !== undefined && typeof upgrade === "string" && upgrade.toLowerCase() === "websocket"

const notWebSocket = ({ status }: UpstreamResponse) =>
  new UpstreamError({
    message: `The backend does not speak WebSocket at this path: it answered the upgrade with status ${status}.`
  })

/** What a failed transport says of its backend. */
const blame = (flight: RequestState, attempt: Attempt, { kind }: UpstreamFailed): void => {
  const { backend } = attempt.member
  // Connections that were kept too long break by the dozen at once, and what we lack ourselves is lacking for all
  // backends: neither says anything of this one.
  if (kind === "stale" || kind === "local") return
  if (unreached.has(kind)) {
    backend.state.health.broke(backend.probing)
    return attempt.recordOutcome("broken")
  }
  if (attempt.isByPath) return attempt.recordOutcome("ignored")
  if (kind === "timeout") {
    if (attempt.expired === "first_byte") flight.silences++
    flight.unresolved.addOther()
    return attempt.recordOutcome("broken")
  }
  flight.unresolved.add(attempt.failed("broken", "broken off"))
}

/** The request did not get there, so that it cannot be what is wrong. */
const unreached: ReadonlySet<UpstreamFailed["kind"]> = new Set(["connect", "tls", "refused"])

/** The same request as part of a trace. */
const traced = (outgoing: Outgoing, traceparent: string | undefined): Outgoing =>
  traceparent === undefined ? outgoing : { ...outgoing, headers: withTraceparent(outgoing.headers, traceparent) }

/** What ends an exchange whose request brings more than it may. */
export const bodyTooLarge = new UpstreamFailed({ kind: "request_body", detail: "too large" })

/** What ends an exchange whose request names another model behind the one that was checked. */
export const bodyUnclear = new UpstreamFailed({ kind: "request_body", detail: "unclear" })

/** What ends an exchange whose client lets it wait. */
export const bodyTooSlow = new UpstreamFailed({ kind: "request_body", detail: "too slow" })

export const pastDeadline = () => new DeadlineExceeded({ message: "The request's deadline has passed." })

/** In place of a backend's 401: a client would take that for a word about its own key. */
export const credentialRefused = () =>
  new UpstreamError({
    message:
      "The backend refuses the credential that the gateway is configured with. Your own key is not the reason: " +
      "whoever runs the gateway has to correct it."
  })
