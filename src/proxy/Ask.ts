/**
 * One backend asked once: sent, judged, and read until it is known whether the answer is worth keeping. An answer that
 * breaks off before its first output is an attempt that failed.
 */
import { Effect } from "effect"
import type { Outgoing } from "../backend/BackendAdapter.ts"
import { BodyEnd, UpstreamFailed, type UpstreamResponse } from "../backend/UpstreamTransport.ts"
import {
  DeadlineExceeded,
  type GatewayError,
  InvalidRequest,
  RequestTimeout,
  RequestTooLarge
} from "../domain/Errors.ts"
import type { Attempt } from "./Attempt.ts"
import { EndJudge } from "./EndJudge.ts"
import { withTraceparent } from "./HeaderHygiene.ts"
import type { Mission } from "./Mission.ts"
import type { ProxyServices } from "./ProxyServices.ts"
import { restFor } from "./RetryAfter.ts"

/** A head, and as much of the body as was read before anything had to be decided. */
export interface Answer {
  /** Who gave it. */
  readonly attempt: Attempt
  readonly response: UpstreamResponse
  readonly held: ReadonlyArray<Uint8Array>
  /** Whether `held` is all of it. */
  readonly complete: boolean
  /** Whether its silence counts, and not how long it takes as a whole. */
  readonly streams: boolean
  /** For an answer that is a stream of events. */
  readonly judge: EndJudge | undefined
}

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

/** An answer of at most this many bytes is read to its end before the client gets any of it. */
const holdBytes = 1024 * 1024

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
    const answer = yield* readAnswer(mission, attempt, response)
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
      // Connections that were kept too long break by the dozen at once: each of them is nobody's fault.
      if (failure.kind !== "stale") {
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

  /** Events until the first output, other bodies to their end if that is near; what has no known form not at all. */
  const readAnswer = Effect.fnUntraced(function* (mission: Mission, attempt: Attempt, response: UpstreamResponse) {
    const { passedThrough } = mission
    const events = isEventStream(response)
    const streams = events || (passedThrough && !isShort(mission, response))
    const judge = events ? new EndJudge(mission.dialect, mission.choices) : undefined
    const held: Array<Uint8Array> = []
    if (streams) attempt.awaitOutput()
    if (streams && passedThrough) return { attempt, response, held, complete: false, streams, judge }
    let size = 0
    for (;;) {
      const read = yield* response.read
      if (read instanceof BodyEnd) {
        const cut = read.failure ?? (events && judge?.outputs === 0 ? nothingSaid : undefined)
        return cut === undefined
          ? { attempt, response, held, complete: true, streams, judge }
          : yield* broken(mission, attempt, cut)
      }
      for (const piece of read) {
        held.push(piece)
        size += piece.length
        judge?.push(piece)
      }
      if (size >= holdBytes || (judge !== undefined && judge.outputs > 0)) {
        return { attempt, response, held, complete: false, streams, judge }
      }
    }
  })

  return { ask, readAnswer }
}

/** The same request as part of a trace. */
const traced = (outgoing: Outgoing, traceparent: string | undefined): Outgoing =>
  traceparent === undefined ? outgoing : { ...outgoing, headers: withTraceparent(outgoing.headers, traceparent) }

/** What ends an exchange whose request brings more than it may. */
export const bodyTooLarge = new UpstreamFailed({ kind: "request_body", detail: "too large" })

/** What ends an exchange whose client lets it wait. */
export const bodyTooSlow = new UpstreamFailed({ kind: "request_body", detail: "too slow" })

/** What is no success is passed on as it is, whatever its form. */
const isEventStream = ({ headers, status }: UpstreamResponse): boolean => {
  const type = headers["content-type"]
  return status < 300 && typeof type === "string" && /^text\/event-stream/i.test(type)
}

/** Whether the end of an answer is near, so that it can be waited for; else it may be a stream of any kind. */
const isShort = ({ flight: { method } }: Mission, { headers, status }: UpstreamResponse): boolean =>
  method === "HEAD" || status === 204 || status === 304 || Number(headers["content-length"] ?? Number.NaN) <= holdBytes

const nothingSaid = new UpstreamFailed({ kind: "reset", detail: "the stream ended before its first event" })

export const pastDeadline = () => new DeadlineExceeded({ message: "The request's deadline has passed." })
