/**
 * From a request to an answer: attempt after attempt, each on another backend while there is one, until one of them is
 * worth keeping or no more may be made. Nothing is committed to the client here: an answer that breaks off before its
 * first output is an attempt that failed.
 */
import { Duration, Effect } from "effect"
import type { Outgoing } from "../backend/BackendAdapter.ts"
import { BodyEnd, UpstreamFailed, type UpstreamResponse } from "../backend/UpstreamTransport.ts"
import {
  DeadlineExceeded,
  type GatewayError,
  InvalidRequest,
  NoHealthyBackend,
  RequestTimeout,
  RequestTooLarge,
  UpstreamError,
  UpstreamTimeout
} from "../domain/Errors.ts"
import type { Attempted, Entry } from "../resilience/Admission.ts"
import { Lease, type NoLease } from "../scheduler/Scheduler.ts"
import type { Attempt } from "./Attempt.ts"
import { EndJudge } from "./EndJudge.ts"
import type { Dialect } from "./Endpoint.ts"
import type { Flight } from "./Flight.ts"
import { withTraceparent } from "./HeaderHygiene.ts"
import { makeHedged } from "./Hedged.ts"
import type { ProxyServices } from "./ProxyServices.ts"
import { restFor } from "./RetryAfter.ts"
import { isOverload } from "./StandIn.ts"

/** What is to be sent, and how often that may be done. */
export interface Mission {
  readonly flight: Flight
  /** What goes to the backend of a lease. */
  readonly outgoing: (lease: Lease) => Outgoing
  /** What backends are asked for; `undefined` for what is passed through. */
  readonly model: string | undefined
  readonly dialect: Dialect
  readonly choices: number
  /** By path, to whatever is there: neither the request nor its answer is known to have any form. */
  readonly passedThrough: boolean
  /** Whether it may be sent again after such a failure (`undefined`: after an answer), and its body is still there. */
  readonly repeatable: (failure: UpstreamFailed | undefined) => boolean
  /** Whether somebody has another model that may be asked instead. */
  readonly hasStandIn: () => boolean
  /** What the request waits for: requests of one group can take each other's place. */
  readonly group: string
  /** Lower first. */
  readonly priority: number
}

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
class AttemptFailed {
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

export const makeAttempts = (services: ProxyServices) => {
  const { adapters, admission, deadlines, hedging, metrics, registry, retry, scheduler, transport } = services
  const hedged = makeHedged(services)

  /** Where all who could be were asked: who has come back since, then anybody but the one that has just failed. */
  const pickFor = (flight: Flight): Lease | NoLease => {
    const { candidates, failed, hashKey, pool, prompt, session, tried } = flight
    const beginsAnew = failed.some((state) => !tried.includes(state))
    for (const avoided of beginsAnew ? [failed, [...tried, ...failed.slice(-1)]] : []) {
      const other = scheduler.pick({ candidates, hashKey, pool, prompt, session, tried: avoided }, deadlines.now())
      if (other instanceof Lease) return other
    }
    return scheduler.pick(flight, deadlines.now())
  }

  const entryFor = ({ flight, group, hasStandIn, priority }: Mission): Entry<Attempt, GatewayError> => {
    const { admission: bounds, retry: policy } = flight.pool.config
    const patience = Duration.toMillis(policy.maxDelay)
    const attempt = (): Attempted<Attempt, GatewayError> => {
      const picked = pickFor(flight)
      if (picked instanceof Lease) return { _tag: "Granted", value: flight.board(picked) }
      const worthWaiting =
        picked.reason === "saturated" || (picked.until - deadlines.now() <= patience && !hasStandIn())
      return worthWaiting ? { _tag: "Wait" } : { _tag: "Refused", error: nobody(picked, deadlines.now()) }
    }
    return {
      pool: flight.pool.name,
      maxConcurrent: bounds.maxConcurrent,
      maxQueue: bounds.maxQueue,
      queueTimeout: Duration.toMillis(bounds.queueTimeout),
      group,
      priority,
      deadline: flight.deadline,
      attempt,
      admitted: flight.permitted
    }
  }

  /** One backend is asked; and one beside it, where the pool hedges and the first takes long. */
  const attempt = Effect.fnUntraced(function* (mission: Mission, entry: Entry<Attempt, GatewayError>) {
    const { flight } = mission
    const asked = flight.now()
    if (asked >= flight.deadline) return yield* pastDeadline()
    const boarded = yield* flight.isPermitted ? admission.enterAgain(entry) : admission.enter(entry)
    const waited = flight.now() - asked
    flight.queued += waited
    metrics.queueWait(flight.pool.name)(waited / 1000)
    const patience = mission.passedThrough ? undefined : hedging.delay(flight.pool, flight.streaming)
    return yield* patience === undefined
      ? ask(mission, boarded)
      : hedged(flight, boarded, patience, (attempt, since) => ask(mission, attempt, since))
  })

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
      if (failure.kind !== "timeout") backend.state.health.broke(backend.probing)
      attempt.judge("failure")
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

  /** Whether another attempt is made; if so, everything of this one is given back. */
  const again = (mission: Mission, failed: AttemptFailed): boolean => {
    const { flight } = mission
    const { retry: policy } = flight.pool.config
    if (!mission.repeatable(failed.failure) || flight.attempts > policy.attempts || deadlines.now() >= flight.deadline)
      return false
    const tried = flight.triedWith(failed.attempt)
    const elsewhere = isWorthAsking(flight, tried)
    if (!elsewhere && (!isWorthAsking(flight, []) || isBetterStoodIn(mission, failed))) return false
    if (!retry.take(flight.pool, admission.active(flight.pool.name))) return false
    failed.elsewhere = elsewhere
    flight.tried = elsewhere ? tried : []
    flight.failed = [...flight.failed, failed.attempt.member.backend.state]
    flight.disembark(failed.attempt)
    metrics.retries(flight.pool.name, failed.reason)(1)
    return true
  }

  const isWorthAsking = (flight: Flight, tried: Flight["tried"]): boolean => {
    const { candidates, hashKey, pool, prompt, session } = flight
    const outlook = scheduler.outlook({ candidates, hashKey, pool, prompt, session, tried }, deadlines.now())
    if (outlook === "ready" || outlook.reason === "saturated") return true
    return outlook.until - deadlines.now() <= Duration.toMillis(pool.config.retry.maxDelay)
  }

  /** What the last attempt is worth when there is no other: its answer as it came, else the gateway's own. */
  const settle = (mission: Mission, failed: AttemptFailed): Effect.Effect<Answer, GatewayError> =>
    failed.response === undefined
      ? Effect.fail(noAnswer(failed.failure))
      : Effect.catch(readAnswer(mission, failed.attempt, failed.response), (error) =>
          Effect.fail(error instanceof AttemptFailed ? noAnswer(error.failure) : error)
        )

  /** What follows a first attempt that failed: others, as the pool's schedule has them, until there is nothing more to try. */
  const orElse = (
    mission: Mission,
    once: Effect.Effect<Answer, AttemptFailed | GatewayError>,
    first: AttemptFailed
  ): Effect.Effect<Answer, GatewayError> => {
    let begun = false
    // The schedule is for failures, so the first one is its beginning; most requests have none and need no schedule.
    const attempts = Effect.suspend(() => {
      if (begun) return once
      begun = true
      return Effect.fail(first)
    })
    return attempts.pipe(
      Effect.tapError((error) =>
        Effect.sync(() => {
          if (error instanceof AttemptFailed) error.again = again(mission, error)
        })
      ),
      Effect.retry({
        schedule: retry.schedule(mission.flight.pool),
        while: (error) => error instanceof AttemptFailed && error.again
      }),
      Effect.catch((error) => (error instanceof AttemptFailed ? settle(mission, error) : Effect.fail(error)))
    )
  }

  return (mission: Mission): Effect.Effect<Answer, GatewayError> => {
    const { flight } = mission
    const entry = entryFor(mission)
    const once = Effect.suspend(() => attempt(mission, entry))
    const answer = Effect.catch(once, (error) =>
      error instanceof AttemptFailed ? orElse(mission, once, error) : Effect.fail(error)
    )
    // The time between two attempts is nobody else's to watch.
    return flight.deadline === Number.POSITIVE_INFINITY
      ? answer
      : Effect.timeoutOrElse(answer, {
          duration: Math.max(0, flight.deadline - flight.now()),
          orElse: () => Effect.fail(pastDeadline())
        })
  }
}

/** The same request as part of a trace. */
const traced = (outgoing: Outgoing, traceparent: string | undefined): Outgoing =>
  traceparent === undefined ? outgoing : { ...outgoing, headers: withTraceparent(outgoing.headers, traceparent) }

/** Another model can be asked at once; who has this one would have to be waited for. */
const isBetterStoodIn = ({ hasStandIn }: Mission, { failure, response }: AttemptFailed): boolean =>
  (response === undefined ? failure?.kind !== "timeout" : isOverload(response.status)) && hasStandIn()

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

const pastDeadline = () => new DeadlineExceeded({ message: "The request's deadline has passed." })

const noAnswer = (failure: UpstreamFailed | undefined): GatewayError =>
  failure?.kind === "timeout"
    ? new UpstreamTimeout({ message: "The backend did not answer in time." })
    : new UpstreamError({ message: "The backend could not be reached, or broke off before it answered." })

const nobody = ({ reason, until }: NoLease, now: number): NoHealthyBackend => {
  const seconds = reason === "resting" ? Math.ceil((until - now) / 1000) : 5
  const message = "No backend is available for this request at the moment."
  return new NoHealthyBackend({ message, retryAfter: Math.min(60, Math.max(1, seconds)) })
}
