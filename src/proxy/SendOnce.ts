/**
 * One backend asked once: sent, classified, and read until it is known whether the answer is worth keeping. An answer
 * that breaks off before its first output is an attempt that failed.
 */
import { Effect } from "effect"
import { BackendAdapter, type Outgoing, restFor } from "../backend/BackendAdapter.ts"
import type { GatewayError } from "../domain/Errors.ts"
import { withTraceparent } from "../protocol/HeaderFilter.ts"
import { saysModelIsMissing } from "../protocol/RefusalText.ts"
import { Registry } from "../registry/Registry.ts"
import { HedgePolicy } from "../resilience/HedgePolicy.ts"
import { Metrics } from "../telemetry/Telemetry.ts"
import {
  type Cancel,
  type ExchangeFailed,
  type OnHead,
  RequestBodyFailed,
  type UpstreamFailed,
  type UpstreamRequest,
  type UpstreamResponse,
  UpstreamTransport
} from "../transport/UpstreamTransport.ts"
import { isAnswer, readAnswer } from "./AnswerReading.ts"
import type { Attempt } from "./Attempt.ts"
import { credentialRefused, notWebSocket, pastDeadline, requestBodyError } from "./GatewayAnswers.ts"
import type { RequestState } from "./RequestState.ts"
import { AttemptFailed, ErrorInStream, type UpstreamAnswer } from "./UpstreamAnswer.ts"

type Sent = Effect.Effect<UpstreamAnswer, AttemptFailed | GatewayError>

export type SendOnce = Effect.Success<typeof makeSendOnce>

export const makeSendOnce = Effect.gen(function* () {
  const adapters = yield* BackendAdapter
  const hedging = yield* HedgePolicy
  const metrics = yield* Metrics
  const registry = yield* Registry
  const transport = yield* UpstreamTransport

  /** `since`: the attempt with which the client began to wait, where this one runs beside it. */
  const sendOnce = (state: RequestState, attempt: Attempt, since = attempt): Sent =>
    Effect.suspend(() => {
      const outgoing = state.outgoing(attempt.lease)
      const hashing = adapters.bodyHash(attempt.member, outgoing)
      return hashing === undefined
        ? send(state, attempt, since, outgoing, undefined)
        : Effect.flatMap(hashing, (bodyHash) => send(state, attempt, since, outgoing, bodyHash))
    })

  /** The attempt goes out; what it sends. */
  const begin = (state: RequestState, attempt: Attempt, outgoing: Outgoing, bodyHash?: string): UpstreamRequest => {
    state.sent(attempt)
    const { client } = state.plan.pool.config
    return adapters.prepare(attempt.member, client, traced(outgoing, attempt.traceparent), bodyHash)
  }

  /** Without a generator, as every request comes by here. */
  const send = (
    state: RequestState,
    attempt: Attempt,
    since: Attempt,
    outgoing: Outgoing,
    bodyHash: string | undefined
  ): Sent =>
    Effect.matchEffect(transport.send(begin(state, attempt, outgoing, bodyHash), attempt.onStart), {
      onFailure: (failure) => exchangeFailed(state, attempt, failure),
      onSuccess: (response) => {
        attempt.arrive(response)
        return classified(state, attempt, since, response)
      }
    })

  /** What an answer means, and what follows from it for the request and for the backend. */
  const classified = (state: RequestState, attempt: Attempt, since: Attempt, response: UpstreamResponse): Sent => {
    const classification = adapters.classify(attempt.member.backend.config, response.status)
    switch (classification) {
      case "back_pressure":
      case "backend_fault":
        return Effect.fail(failedWith(state, attempt, classification, response))
      case "refused_credential":
        return Effect.fail(refusedCredential(state, attempt, response))
      case "refused":
        return attempt.isByPath
          ? passOn(state, attempt, since, response, "request_fault")
          : refusedRequest(state, attempt, since, response)
      case "answered":
        return state.request.upgrade !== undefined && !isUpgraded(response)
          ? Effect.fail(notWebSocket(response.status))
          : passOn(state, attempt, since, response, classification)
      case "request_fault":
        return passOn(state, attempt, since, response, classification)
    }
  }

  /** An answer that is passed on, once enough of it is read. One frame and no generator: every request comes by here. */
  const passOn = (
    state: RequestState,
    attempt: Attempt,
    since: Attempt,
    response: UpstreamResponse,
    classification: "answered" | "request_fault"
  ): Sent =>
    Effect.flatMap(readAnswer(state.plan, attempt, response), (read) => {
      if (!isAnswer(read)) return worthless(state, attempt, since, read)
      recordAnswer(state, attempt, since, classification)
      return Effect.succeed(read)
    })

  /** What was read is no answer to keep. */
  const worthless = (
    state: RequestState,
    attempt: Attempt,
    since: Attempt,
    read: ErrorInStream | ExchangeFailed
  ): Sent =>
    read instanceof ErrorInStream
      ? classified(state, attempt, since, read.response)
      : exchangeFailed(state, attempt, read)

  const recordAnswer = (
    state: RequestState,
    attempt: Attempt,
    since: Attempt,
    classification: "answered" | "request_fault"
  ): void => {
    const { model, passedThrough, pool, streaming } = state.plan
    const { health, latency, name } = attempt.member.backend.state
    const now = state.now()
    health.delivered(now)
    metrics.upstreamDuration({ pool: pool.name, backend: name })((attempt.headAt - attempt.sentAt) / 1000)
    if (classification === "request_fault") {
      // A refusal of the request shows that the backend lives, and nothing of how well or how fast it does its work.
      state.unresolved.refused()
      return attempt.recordOutcome("ignored")
    }
    state.unresolved.answeredElsewhere()
    if (model === undefined) return attempt.recordOutcome("ignored")
    health.acceptedCredential(model)
    if (!passedThrough) {
      latency.record(now - attempt.sentAt, now)
      hedging.observed(pool, streaming, now - since.sentAt)
    }
    attempt.recordOutcome("success")
  }

  /** The backend has too much to do, or says itself that it fails. */
  const failedWith = (
    state: RequestState,
    attempt: Attempt,
    classification: "back_pressure" | "backend_fault",
    response: UpstreamResponse
  ): AttemptFailed => {
    const backend = attempt.member.backend.state
    const reason = String(response.status)
    metrics.upstreamErrors({ pool: state.plan.pool.name, backend: backend.name, error: reason })(1)
    if (classification === "back_pressure") {
      const { isAsked, millis } = restFor(response.headers)
      backend.rest(state.now() + millis, isAsked)
    }
    if (classification === "back_pressure" || attempt.isByPath) attempt.recordOutcome("ignored")
    else state.unresolved.add(attempt.failed("failure", reason))
    return new AttemptFailed(attempt, classification, reason, undefined, response)
  }

  /** No client can mend that, and none must take it for a word about its own key. */
  const refusedCredential = (state: RequestState, attempt: Attempt, response: UpstreamResponse) => {
    const { model, pool } = state.plan
    const backend = attempt.member.backend.state
    metrics.upstreamErrors({ pool: pool.name, backend: backend.name, error: "401" })(1)
    attempt.recordOutcome("ignored")
    if (model === undefined) return credentialRefused()
    if (!backend.health.refusedCredential(model, state.now())) backend.refused(model, state.now())
    return new AttemptFailed(attempt, "refused_credential", "401", undefined, response)
  }

  /** Another backend may take what this one refuses; a 404 says so only where it is about the model. */
  const refusedRequest = (state: RequestState, attempt: Attempt, since: Attempt, response: UpstreamResponse): Sent =>
    Effect.flatMap(readOn(state, attempt, response), (answer) => {
      const { model, pool } = state.plan
      const backend = attempt.member.backend.state
      const lacksModel = response.status === 404 && answer.complete && saysModelIsMissing(answer.held)
      if (!answer.complete || model === undefined || (response.status === 404 && !lacksModel)) {
        recordAnswer(state, attempt, since, "request_fault")
        return Effect.succeed(answer)
      }
      backend.health.delivered(state.now())
      backend.refused(model, state.now())
      if (lacksModel && backend.models?.has(model) === true) backend.health.lookAgain()
      attempt.recordOutcome("ignored")
      const reason = String(response.status)
      metrics.upstreamErrors({ pool: pool.name, backend: backend.name, error: reason })(1)
      return Effect.fail(new AttemptFailed(attempt, "refused", reason, undefined, answer))
    })

  /** The exchange came to nothing before anything was committed. */
  const exchangeFailed = (
    state: RequestState,
    attempt: Attempt,
    failure: ExchangeFailed
  ): Effect.Effect<never, AttemptFailed | GatewayError> =>
    Effect.suspend((): Effect.Effect<never, AttemptFailed | GatewayError> => {
      if (attempt.expired === "deadline") return Effect.fail(pastDeadline())
      if (failure instanceof RequestBodyFailed) {
        return Effect.fail(requestBodyError(failure, registry.current().config.limits.maxUploadBytes))
      }
      metrics.upstreamErrors({ pool: state.plan.pool.name, backend: attempt.member.backend.name, error: failure.kind })(
        1
      )
      attempt.tell({}, failure.kind)
      recordFailure(state, attempt, failure)
      return Effect.fail(new AttemptFailed(attempt, "transport", failure.kind, failure, undefined))
    })

  /** The same for an answer whose head was classified already. */
  const readOn = (state: RequestState, attempt: Attempt, response: UpstreamResponse): Sent =>
    Effect.filterOrElse(readAnswer(state.plan, attempt, response), isAnswer, (read) =>
      read instanceof ErrorInStream ? readOn(state, attempt, read.response) : exchangeFailed(state, attempt, read)
    )

  /** For an attempt that has no fiber up to here. */
  const direct = {
    /** Sends it; `undefined`: nothing was done, as a fiber has to prepare it. */
    open: (state: RequestState, attempt: Attempt, onHead: OnHead): Cancel | undefined => {
      const outgoing = state.outgoing(attempt.lease)
      if (adapters.bodyHash(attempt.member, outgoing) !== undefined) return undefined
      return transport.open(begin(state, attempt, outgoing), attempt.onStart, onHead)
    },
    send: (state: RequestState, attempt: Attempt) => sendOnce(state, attempt),
    /** Whether its answer can be read without a fiber: nearly all that succeed. */
    isPlain: ({ member }: Attempt, { direct, status }: UpstreamResponse): boolean =>
      direct !== undefined && adapters.classify(member.backend.config, status) === "answered",
    recordAnswer: (state: RequestState, attempt: Attempt) => recordAnswer(state, attempt, attempt, "answered"),
    classified: (state: RequestState, attempt: Attempt, response: UpstreamResponse) =>
      classified(state, attempt, attempt, response),
    worthless: (state: RequestState, attempt: Attempt, read: ErrorInStream | ExchangeFailed) =>
      worthless(state, attempt, attempt, read),
    failed: (state: RequestState, attempt: Attempt, failure: ExchangeFailed) =>
      Effect.andThen(transport.tellShortage(failure), exchangeFailed(state, attempt, failure))
  }

  return { sendOnce, readOn, direct }
})

const isUpgraded = ({ headers: { upgrade }, socket }: UpstreamResponse): boolean =>
  socket !== undefined && typeof upgrade === "string" && upgrade.toLowerCase() === "websocket"

/** What a failed exchange says of its backend. */
const recordFailure = (state: RequestState, attempt: Attempt, { kind }: UpstreamFailed): void => {
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
    if (attempt.expired === "first_byte") state.silences++
    state.unresolved.addOther()
    return attempt.recordOutcome("broken")
  }
  state.unresolved.add(attempt.failed("broken", "broken off"))
}

/** The request did not get there, so that it cannot be what is wrong. */
const unreached: ReadonlySet<UpstreamFailed["kind"]> = new Set(["connect", "tls", "refused"])

/** The same request as part of a trace. */
const traced = (outgoing: Outgoing, traceparent: string | undefined): Outgoing =>
  traceparent === undefined ? outgoing : { ...outgoing, headers: withTraceparent(outgoing.headers, traceparent) }
