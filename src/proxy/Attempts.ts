/**
 * From a request to an answer: attempt after attempt, each on another backend while there is one, until one of them is
 * worth keeping or no more may be made. Nothing is committed to the client here.
 */
import { Duration, Effect, Result } from "effect"
import type { GatewayError } from "../domain/Errors.ts"
import { MonotonicClock } from "../domain/MonotonicClock.ts"
import { Admission, type Attempted, type Entry } from "../resilience/Admission.ts"
import { HedgePolicy } from "../resilience/HedgePolicy.ts"
import { RetryPolicy, TryAgain } from "../resilience/RetryPolicy.ts"
import { Lease, type NoLease, Scheduler } from "../scheduler/Scheduler.ts"
import { Metrics } from "../telemetry/Telemetry.ts"
import type { Attempt } from "./Attempt.ts"
import { credentialRefused, noAnswer, noBackend, pastDeadline } from "./GatewayAnswers.ts"
import { makeHedged } from "./Hedged.ts"
import { isOverload, type Planner } from "./Planner.ts"
import { isRepeatable } from "./RequestPlan.ts"
import type { RequestState } from "./RequestState.ts"
import { makeSendOnce } from "./SendOnce.ts"
import { AttemptFailed, type UpstreamAnswer } from "./UpstreamAnswer.ts"

export const makeAttempts = (planner: Planner) =>
  Effect.gen(function* () {
    const admission = yield* Admission
    const hedging = yield* HedgePolicy
    const metrics = yield* Metrics
    const retry = yield* RetryPolicy
    const scheduler = yield* Scheduler
    const clock = yield* MonotonicClock
    const { direct, readOn, sendOnce } = yield* makeSendOnce
    const hedged = yield* makeHedged

    /** Where all that could be were asked: one that has recovered since, then any but the one that just failed. */
    const pickFor = (state: RequestState, now: number): Lease | NoLease => {
      const { failed, tried } = state
      const beginsAnew = failed.some((each) => !tried.includes(each))
      for (const avoided of beginsAnew ? [failed, [...tried, ...failed.slice(-1)]] : []) {
        const other = scheduler.pick(state.pickRequest(avoided), now)
        if (other instanceof Lease) return other
      }
      return scheduler.pick(state.pickRequest(), now)
    }

    /** What is out, where nothing else is left for the request: after tiers, fallbacks and the fallback backend. */
    const pickLastResort = (state: RequestState, now: number): Lease | undefined =>
      planner.hasFallback(state.plan, state.report.attempts)
        ? undefined
        : scheduler.pickLastResort(state.pickRequest(), now)

    const entryFor = (state: RequestState): Entry<Attempt, GatewayError> => {
      const { plan } = state
      const { admission: bounds, retry: policy } = plan.pool.config
      const maxDelayMillis = Duration.toMillis(policy.maxDelay)
      const attempt = (): Attempted<Attempt, GatewayError> => {
        const now = clock.now()
        const picked = pickFor(state, now)
        if (picked instanceof Lease) return { _tag: "Granted", value: state.openAttempt(picked) }
        const worthWaiting =
          picked.reason === "saturated" ||
          (picked.until - now <= maxDelayMillis && !planner.hasFallback(state.plan, state.report.attempts))
        if (worthWaiting) return { _tag: "Wait" }
        const last = pickLastResort(state, now)
        return last === undefined
          ? { _tag: "Refused", error: noBackend(picked, now) }
          : { _tag: "Granted", value: state.openAttempt(last) }
      }
      return {
        pool: plan.pool.name,
        maxConcurrent: bounds.maxConcurrent,
        maxQueue: bounds.maxQueue,
        queueTimeout: Duration.toMillis(bounds.queueTimeout),
        waited: () => state.report.queued,
        group: plan.route.model ?? "",
        priority: state.request.key?.priority ?? 0,
        deadline: plan.deadline,
        attempt,
        onPermit: state.onPermit
      }
    }

    /** One backend is asked; and one beside it, where the pool hedges and the first takes long. */
    const askOnce = (state: RequestState, entry: Entry<Attempt, GatewayError>): Attempting =>
      Effect.suspend(() => {
        const asked = state.now()
        const { deadline, passedThrough, pool, streaming } = state.plan
        if (asked >= deadline) return Effect.fail(pastDeadline())
        const acquired = state.hasPermit ? admission.reacquire(entry) : admission.acquire(entry)
        return Effect.flatMap(acquired, (attempt) => {
          const waited = state.now() - asked
          state.report.queued += waited
          metrics.queueWait({ pool: pool.name })(waited / 1000)
          const delay = passedThrough ? undefined : hedging.delay(pool, streaming)
          return delay === undefined ? sendOnce(state, attempt) : hedged(state, attempt, delay, sendOnce)
        })
      })

    /** Whether another attempt is made; if so, everything of this one is given back. */
    const tryAgain = (state: RequestState, failed: AttemptFailed): TryAgain<AttemptFailed> | undefined => {
      const { deadline, pool } = state.plan
      if (!isRepeatable(state.plan, failed.failure) || state.attempts > pool.config.retry.attempts) return undefined
      const now = clock.now()
      if (now >= deadline || failed.tookTooLong) return undefined
      if (failed.isSilence && state.silences > maxSilences) return undefined
      const tried = state.triedWith(failed.attempt)
      const elsewhere = canAskElsewhere(state, tried, now)
      if (!elsewhere && !canAskTheSame(state, failed, now)) return undefined
      if (!retry.take(pool, admission.active(pool.name))) return undefined
      state.tried = elsewhere ? tried : []
      state.failed = [...state.failed, failed.attempt.member.backend.state]
      state.discard(failed.attempt)
      metrics.retries({ pool: pool.name, reason: failed.reason })(1)
      return new TryAgain(elsewhere, failed)
    }

    const canAskElsewhere = (state: RequestState, tried: RequestState["tried"], now: number): boolean =>
      isWorthAsking(state, tried, now) ||
      (scheduler.hasLastResort(state.pickRequest(tried), now) &&
        !planner.hasFallback(state.plan, state.report.attempts))

    /** A backend that answered has given its answer; one that broke off, or has too much to do, may do better in a while. */
    const canAskTheSame = (state: RequestState, failed: AttemptFailed, now: number): boolean =>
      (failed.why === "back_pressure" || failed.why === "transport") &&
      !failed.isSilence &&
      isWorthAsking(state, [], now) &&
      !(prefersFallback(failed) && planner.hasFallback(state.plan, state.report.attempts))

    const isWorthAsking = (state: RequestState, tried: RequestState["tried"], now: number): boolean => {
      const outlook = scheduler.outlook(state.pickRequest(tried), now)
      if (outlook === "ready" || outlook.reason === "saturated") return true
      return outlook.until - now <= Duration.toMillis(state.plan.pool.config.retry.maxDelay)
    }

    /** What the last attempt is worth when there is no other: its answer as it came, else the gateway's own. */
    const settle = (state: RequestState, failed: AttemptFailed): Effect.Effect<UpstreamAnswer, GatewayError> => {
      state.unresolved.allFailed(isWorthAsking(state, state.triedWith(failed.attempt), clock.now()))
      const { said } = failed
      if (failed.why === "refused_credential") return Effect.fail(credentialRefused())
      if (said === undefined) return Effect.fail(noAnswer(failed))
      return "response" in said
        ? Effect.succeed(said)
        : Effect.mapError(readOn(state, failed.attempt, said), (error) =>
            error instanceof AttemptFailed ? noAnswer(error) : error
          )
    }

    /** What follows a first attempt that failed: others, as the pool's schedule has them, until no more may be made. */
    const retried = (
      state: RequestState,
      once: Attempting,
      first: AttemptFailed
    ): Effect.Effect<UpstreamAnswer, GatewayError> => {
      const settled = (failed: AttemptFailed) => Effect.result(settle(state, failed))
      const decide = (failed: AttemptFailed): Effect.Effect<Settled, TryAgain<AttemptFailed>> => {
        const again = tryAgain(state, failed)
        return again === undefined ? settled(failed) : Effect.fail(again)
      }
      const nextOne = Effect.matchEffect(once, {
        onSuccess: (answer) => Effect.succeed(Result.succeed(answer)),
        onFailure: (error) => (error instanceof AttemptFailed ? decide(error) : Effect.succeed(Result.fail(error)))
      })
      // The schedule is for failures, so the first one is its beginning; most requests have none and need no schedule.
      let hasBegun = false
      const next = Effect.suspend((): Effect.Effect<Settled, TryAgain<AttemptFailed>> => {
        if (hasBegun) return nextOne
        hasBegun = true
        return decide(first)
      })
      return next.pipe(
        Effect.retry(retry.schedule(state.plan.pool)),
        Effect.catchTag("TryAgain", ({ failed }) => settled(failed)),
        Effect.flatMap(Effect.fromResult)
      )
    }

    const goOn = (state: RequestState, once: Attempting, first: Attempting): Answered => {
      const { deadline } = state.plan
      const answer = Effect.catchTag(first, "AttemptFailed", (failed) => retried(state, once, failed))
      // Nothing else watches the time between two attempts.
      return deadline === Number.POSITIVE_INFINITY
        ? answer
        : Effect.timeoutOrElse(answer, {
            duration: Math.max(0, deadline - state.now()),
            orElse: () => Effect.fail(pastDeadline())
          })
    }

    const all = (state: RequestState): Answered => {
      const once = askOnce(state, entryFor(state))
      return goOn(state, once, once)
    }

    /** Where the first attempt has come about without a fiber: what came of it, and what follows from that. */
    const from = (state: RequestState, first: Attempting): Answered =>
      goOn(state, askOnce(state, entryFor(state)), first)

    /** A first attempt where nothing has to be waited for, neither a place nor a second backend beside it. */
    const tryFirst = (state: RequestState): Attempt | undefined => {
      const { deadline, pool } = state.plan
      if (deadline !== Number.POSITIVE_INFINITY || pool.config.hedge !== undefined) return undefined
      const attempt = admission.tryAcquire(entryFor(state))
      if (attempt !== undefined) metrics.queueWait({ pool: pool.name })(0)
      return attempt
    }

    return { all, from, tryFirst, direct }
  })

export type Attempts = Effect.Success<ReturnType<typeof makeAttempts>>

export type Answered = Effect.Effect<UpstreamAnswer, GatewayError>

type Settled = Result.Result<UpstreamAnswer, GatewayError>

export type Attempting = Effect.Effect<UpstreamAnswer, AttemptFailed | GatewayError>

/** A silent backend costs the client its patience: one more is asked, and no third one. */
const maxSilences = 1

/** Another model can be asked at once; a backend that has this one would have to be waited for. */
const prefersFallback = ({ failure, status }: AttemptFailed): boolean =>
  // A silent backend may have been about to answer; what this process lacks is lacking for every model.
  status === 0 ? failure?.kind !== "timeout" && failure?.kind !== "local" : isOverload(status)
