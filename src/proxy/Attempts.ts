/**
 * From a request to an answer: attempt after attempt, each on another backend while there is one, until one of them is
 * worth keeping or no more may be made. Nothing is committed to the client here.
 */
import { Duration, Effect } from "effect"
import { type GatewayError, NoHealthyBackend, QueueFull, UpstreamError, UpstreamTimeout } from "../domain/Errors.ts"
import type { Attempted, Entry } from "../resilience/Admission.ts"
import { Lease, type NoLease, type PickRequest } from "../scheduler/Scheduler.ts"
import type { UpstreamFailed } from "../transport/UpstreamTransport.ts"
import type { Answer } from "./AnswerReading.ts"
import type { Attempt } from "./Attempt.ts"
import { isOverload } from "./Fallback.ts"
import { makeHedged } from "./Hedged.ts"
import type { ProxyServices } from "./ProxyServices.ts"
import type { RequestPlan } from "./RequestPlan.ts"
import type { RequestState } from "./RequestState.ts"
import { AttemptFailed, credentialRefused, makeSendOnce, pastDeadline } from "./SendOnce.ts"

export const makeAttempts = (services: ProxyServices) => {
  const { admission, timers, hedging, metrics, retry, scheduler } = services
  const { ask, readOn } = makeSendOnce(services)
  const hedged = makeHedged(services)

  /** Where all who could be were asked: who has come back since, then anybody but the one that has just failed. */
  const pickFor = (flight: RequestState): Lease | NoLease => {
    const { failed, tried } = flight
    const beginsAnew = failed.some((state) => !tried.includes(state))
    for (const avoided of beginsAnew ? [failed, [...tried, ...failed.slice(-1)]] : []) {
      const other = scheduler.pick({ ...pickRequestOf(flight), tried: avoided }, timers.now())
      if (other instanceof Lease) return other
    }
    return scheduler.pick(flight, timers.now())
  }

  /** What is out, where nothing else is left for the request: after tiers, fallbacks and the fallback backend. */
  const pickLastResort = (mission: RequestPlan): Lease | undefined =>
    mission.hasFallback() ? undefined : scheduler.pickLastResort(mission.state, timers.now())

  const entryFor = (mission: RequestPlan): Entry<Attempt, GatewayError> => {
    const { state: flight, group, hasFallback: hasStandIn, priority } = mission
    const { admission: bounds, retry: policy } = flight.pool.config
    const patience = Duration.toMillis(policy.maxDelay)
    const attempt = (): Attempted<Attempt, GatewayError> => {
      const picked = pickFor(flight)
      if (picked instanceof Lease) return { _tag: "Granted", value: flight.openAttempt(picked) }
      const worthWaiting = picked.reason === "saturated" || (picked.until - timers.now() <= patience && !hasStandIn())
      if (worthWaiting) return { _tag: "Wait" }
      const last = pickLastResort(mission)
      return last === undefined
        ? { _tag: "Refused", error: noBackend(picked, timers.now()) }
        : { _tag: "Granted", value: flight.openAttempt(last) }
    }
    return {
      pool: flight.pool.name,
      maxConcurrent: bounds.maxConcurrent,
      maxQueue: bounds.maxQueue,
      queueTimeout: Duration.toMillis(bounds.queueTimeout),
      waited: () => flight.queued,
      group,
      priority,
      deadline: flight.deadline,
      attempt,
      onPermit: flight.onPermit
    }
  }

  /** One backend is asked; and one beside it, where the pool hedges and the first takes long. */
  const attempt = (
    mission: RequestPlan,
    entry: Entry<Attempt, GatewayError>
  ): Effect.Effect<Answer, AttemptFailed | GatewayError> =>
    Effect.suspend(() => {
      const { state: flight } = mission
      const asked = flight.now()
      if (asked >= flight.deadline) return Effect.fail(pastDeadline())
      const entering = flight.isPermitted ? admission.reacquire(entry) : admission.acquire(entry)
      return Effect.flatMap(entering, (boarded) => {
        const waited = flight.now() - asked
        flight.queued += waited
        metrics.queueWait(flight.pool.name)(waited / 1000)
        const patience = mission.passedThrough ? undefined : hedging.delay(flight.pool, flight.streaming)
        return patience === undefined
          ? ask(mission, boarded)
          : hedged(flight, boarded, patience, (attempt, since) => ask(mission, attempt, since))
      })
    })

  /** Whether another attempt is made; if so, everything of this one is given back. */
  const again = (mission: RequestPlan, failed: AttemptFailed): boolean => {
    const { state: flight } = mission
    const { retry: policy } = flight.pool.config
    if (!mission.repeatable(failed.failure) || flight.attempts > policy.attempts || timers.now() >= flight.deadline)
      return false
    if (tookTooLong(failed) || (isSilence(failed) && flight.silences > maxSilences)) return false
    const tried = flight.triedWith(failed.attempt)
    const elsewhere = canAskElsewhere(mission, tried)
    if (!elsewhere && !canAskTheSame(mission, failed)) return false
    if (!retry.take(flight.pool, admission.active(flight.pool.name))) return false
    failed.elsewhere = elsewhere
    flight.tried = elsewhere ? tried : []
    flight.failed = [...flight.failed, failed.attempt.member.backend.state]
    flight.discard(failed.attempt)
    metrics.retries(flight.pool.name, failed.reason)(1)
    return true
  }

  const canAskElsewhere = (mission: RequestPlan, tried: RequestState["tried"]): boolean =>
    isWorthAsking(mission.state, tried) ||
    (scheduler.hasLastResort({ ...pickRequestOf(mission.state), tried }, timers.now()) && !mission.hasFallback())

  /** A backend that answered has given its answer; one that broke off, or has too much to do, may do better in a while. */
  const canAskTheSame = (mission: RequestPlan, failed: AttemptFailed): boolean =>
    (failed.why === "back_pressure" || failed.why === "transport") &&
    !isSilence(failed) &&
    isWorthAsking(mission.state, []) &&
    !isBetterStoodIn(mission, failed)

  const isWorthAsking = (flight: RequestState, tried: RequestState["tried"]): boolean => {
    const outlook = scheduler.outlook({ ...pickRequestOf(flight), tried }, timers.now())
    if (outlook === "ready" || outlook.reason === "saturated") return true
    return outlook.until - timers.now() <= Duration.toMillis(flight.pool.config.retry.maxDelay)
  }

  /** What the last attempt is worth when there is no other: its answer as it came, else the gateway's own. */
  const settle = (mission: RequestPlan, failed: AttemptFailed): Effect.Effect<Answer, GatewayError> => {
    const { state: flight } = mission
    flight.unresolved.allFailed(isWorthAsking(flight, flight.triedWith(failed.attempt)))
    const { said } = failed
    if (failed.why === "refused_credential") return Effect.fail(credentialRefused())
    if (said === undefined) return Effect.fail(noAnswer(failed))
    return "response" in said
      ? Effect.succeed(said)
      : Effect.mapError(readOn(mission, failed.attempt, said), (error) =>
          error instanceof AttemptFailed ? noAnswer(error) : error
        )
  }

  /** What follows a first attempt that failed: others, as the pool's schedule has them, until there is nothing more to try. */
  const orElse = (
    mission: RequestPlan,
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
        schedule: retry.schedule(mission.state.pool),
        while: (error) => error instanceof AttemptFailed && error.again
      }),
      Effect.catchTag("AttemptFailed", (failed) => settle(mission, failed))
    )
  }

  return (mission: RequestPlan): Effect.Effect<Answer, GatewayError> => {
    const { state: flight } = mission
    const entry = entryFor(mission)
    const once = attempt(mission, entry)
    const answer = Effect.catchTag(once, "AttemptFailed", (failed) => orElse(mission, once, failed))
    // The time between two attempts is nobody else's to watch.
    return flight.deadline === Number.POSITIVE_INFINITY
      ? answer
      : Effect.timeoutOrElse(answer, {
          duration: Math.max(0, flight.deadline - flight.now()),
          orElse: () => Effect.fail(pastDeadline())
        })
  }
}

/** What choosing goes by. */
const pickRequestOf = ({ candidates, hashKey, model, pool, prompt, session, tried }: RequestState): PickRequest => ({
  candidates,
  hashKey,
  model,
  pool,
  prompt,
  session,
  tried
})

/** A silent backend costs the client its patience: one more is asked, and no third one. */
const maxSilences = 1

const isSilence = ({ attempt, failure }: AttemptFailed): boolean =>
  failure?.kind === "timeout" && attempt.expired === "first_byte"

/** A whole answer that ran into its bound would take as long again. */
const tookTooLong = ({ attempt, failure }: AttemptFailed): boolean =>
  failure?.kind === "timeout" && attempt.expired === "request"

/** Another model can be asked at once; a backend that has this one would have to be waited for. */
const isBetterStoodIn = ({ hasFallback: hasStandIn }: RequestPlan, { failure, status }: AttemptFailed): boolean =>
  (status === 0 ? isElsewhereBetter(failure?.kind) : isOverload(status)) && hasStandIn()

/** A silent backend may have been about to answer; what this process lacks is lacking for every model. */
const isElsewhereBetter = (kind: UpstreamFailed["kind"] | undefined): boolean => kind !== "timeout" && kind !== "local"

const noAnswer = ({ attempt, failure }: AttemptFailed): GatewayError => {
  // It was known to be out and was asked all the same: that has made nothing worse.
  if (attempt.lease.isLastResort) return noBackendNow(usualRetryAfter)
  switch (failure?.kind) {
    case "timeout":
      return new UpstreamTimeout({ message: "The backend did not answer in time." })
    case "local":
      return new QueueFull({ message: "This gateway has too many connections open. Please try again.", retryAfter: 1 })
    default:
      return new UpstreamError({ message: "The backend could not be reached, or broke off before it answered." })
  }
}

/** Seconds, where nothing says how long it will take. */
const usualRetryAfter = 5

const noBackend = ({ reason, until }: NoLease, now: number): GatewayError =>
  reason === "misconfigured"
    ? allMisconfigured()
    : noBackendNow(reason === "resting" ? Math.ceil((until - now) / 1000) : usualRetryAfter)

const allMisconfigured = () =>
  new UpstreamError({
    message:
      "The backends that could serve this are misconfigured: they refuse the gateway's credential, or do not answer as " +
      "an engine does. Your own key is not the reason: whoever runs the gateway has to correct it."
  })

const noBackendNow = (seconds: number): NoHealthyBackend =>
  new NoHealthyBackend({
    message: "No backend is available for this request at the moment.",
    retryAfter: Math.min(60, Math.max(1, seconds))
  })
