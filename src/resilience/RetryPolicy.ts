/** When another attempt may be made, and after what delay. */
import { Context, Duration, Effect, Layer, Schedule } from "effect"
import { memoize } from "effect/Function"
import { MonotonicClock } from "../domain/MonotonicClock.ts"
import type { PoolEntry } from "../registry/Registry.ts"
import { SlidingWindow } from "../registry/Registry.ts"

const budgetMillis = 10_000

/** Retries that are always allowed within the window, so that a quiet pool can fail over too. */
const minRetries = 100

/** What was decided of an attempt that failed: another one is made. */
export class TryAgain<A> {
  readonly _tag = "TryAgain"
  /** Whether a backend that was not tried is asked. */
  readonly elsewhere: boolean
  readonly failed: A

  constructor(elsewhere: boolean, failed: A) {
    this.elsewhere = elsewhere
    this.failed = failed
  }
}

export class RetryPolicy extends Context.Service<
  RetryPolicy,
  {
    /** To be told of every request, since the budget is a share of them. */
    readonly requested: (pool: PoolEntry) => void
    /**
     * Takes one retry from the pool's budget, if it has one left: `budget` of the requests of the last ten seconds,
     * and beyond that a hundred or as many as are in flight. The death of a backend fails all that it had at once,
     * and all of them must find another one; what the budget stops is the storm that goes on after that.
     */
    readonly take: (pool: PoolEntry, inflight: number) => boolean
    /**
     * The attempts of one request as a schedule over its failures. Another backend is asked at once; the same one only
     * after a delay that doubles from `initialDelay` to `maxDelay`, jittered.
     */
    readonly schedule: (pool: PoolEntry) => Schedule.Schedule<unknown, TryAgain<unknown>>
  }
>()("weir/resilience/RetryPolicy") {
  static readonly layer = Layer.effect(
    RetryPolicy,
    Effect.gen(function* () {
      const clock = yield* MonotonicClock
      // By pool name: a "success" is a request, a "failure" a retry.
      const budgets = new Map<string, SlidingWindow>()
      const budgetOf = (pool: PoolEntry): SlidingWindow => {
        const known = budgets.get(pool.name)
        if (known !== undefined) return known
        const made = new SlidingWindow(budgetMillis)
        budgets.set(pool.name, made)
        return made
      }

      return RetryPolicy.of({
        requested: (pool) => budgetOf(pool).record(true, clock.now()),
        take: (pool, inflight) => {
          const window = budgetOf(pool)
          const now = clock.now()
          const retries = window.failures(now)
          const requests = window.total(now) - retries
          if (retries >= Math.max(minRetries, inflight) + pool.config.retry.budget * requests) return false
          window.record(false, now)
          return true
        },
        schedule: memoize(makeSchedule)
      })
    })
  )
}

const makeSchedule = ({ config: { retry } }: PoolEntry): Schedule.Schedule<unknown, TryAgain<unknown>> =>
  Schedule.exponential(retry.initialDelay).pipe(
    Schedule.jittered,
    Schedule.setInputType<TryAgain<unknown>>(),
    Schedule.modifyDelay(({ duration, input }) =>
      Effect.succeed(input.elsewhere ? Duration.zero : Duration.min(duration, retry.maxDelay))
    ),
    Schedule.upTo({ times: retry.attempts })
  )
