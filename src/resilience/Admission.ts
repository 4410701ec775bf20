/**
 * Back-pressure: at most n requests of a pool at work, at most m waiting, none longer than t; one that waits leaves at
 * once when its client does. Entering is more than a permit: a request is in when it has a backend, so `attempt` is
 * asked synchronously, and asked again whenever something was given back.
 */
import { Context, Effect, Layer } from "effect"
import { DeadlineExceeded, QueueFull, QueueTimeout } from "../domain/Errors.ts"
import { MonotonicClock } from "../domain/MonotonicClock.ts"
import { Capacity, forgetGone, type Permits, Registry } from "../registry/Registry.ts"
import { type Timed, Timers } from "./Timers.ts"
import { type Attempted, type Waiter, WaitQueue } from "./WaitQueue.ts"

export type { Attempted } from "./WaitQueue.ts"

export interface Entry<A, E> {
  readonly pool: string
  readonly maxConcurrent: number
  readonly maxQueue: number
  /** Milliseconds, for all waits of a request together. */
  readonly queueTimeout: number
  /** Milliseconds that the request has waited before. */
  readonly waited: () => number
  /** What it waits for: entries of one group can take each other's place. */
  readonly group: string
  /** Lower first. */
  readonly priority: number
  /** Monotonic milliseconds after which the request itself is over; `Infinity` without. */
  readonly deadline: number
  /** Called synchronously, possibly many times; must have no effect unless it grants. */
  readonly attempt: () => Attempted<A, E>
  /**
   * Called synchronously with a grant that comes with a permit, right after `attempt`. What was granted must be noted
   * here and in `attempt`, not when the effect returns: an interruption can come in between.
   */
  readonly onPermit: () => void
}

/** How often those that wait look again without being told: for what only time brings back. */
const tickMillis = 50

export class Admission extends Context.Service<
  Admission,
  {
    /** Gives a permit together with what `attempt` granted; a request whose `onPermit` was called gives it back by `release`. */
    readonly acquire: <A, E>(entry: Entry<A, E>) => Effect.Effect<A, E | QueueFull | QueueTimeout | DeadlineExceeded>
    /** The same where there is nothing to wait for; `undefined`: there is, or the request is refused, and nothing was done. */
    readonly tryAcquire: <A, E>(entry: Entry<A, E>) => A | undefined
    /** The same for a request that has a permit already: it may wait, but needs no place in it. */
    readonly reacquire: <A, E>(entry: Entry<A, E>) => Effect.Effect<A, E | QueueTimeout | DeadlineExceeded>
    /** Gives a permit back. */
    readonly release: (pool: string, maxConcurrent: number) => void
    /** Something was given back that others may wait for. */
    readonly wake: () => void
    /** How many wait for a permit. */
    readonly depth: (pool: string) => number
    /** How many have one, of this process's requests. */
    readonly active: (pool: string) => number
    /** Whole seconds after which asking a pool again is worth it. */
    readonly retryAfter: (pool: string, queueTimeout: number) => number
  }
>()("weir/resilience/Admission") {
  static readonly layer = Layer.effect(
    Admission,
    Effect.gen(function* () {
      const clock = yield* MonotonicClock
      const timers = yield* Timers
      const registry = yield* Registry
      const capacity = yield* Capacity
      const queues = new Map<string, WaitQueue>()
      // Queues that are not empty, with the bound that they were last given: usually none.
      const busy = new Map<WaitQueue, number>()
      let order = 0

      const queueOf = (pool: string): WaitQueue => {
        const known = queues.get(pool)
        if (known !== undefined) return known
        const made = new WaitQueue(capacity.permits("pool", pool))
        queues.set(pool, made)
        return made
      }
      yield* registry.follow(({ pools }) => Effect.sync(() => forgetGone(queues, pools, ({ isInUse }) => isInUse)))
      /** A pool that is gone was kept for its last request. */
      const forgetUnused = (pool: string) => {
        if (!registry.current().pools.has(pool) && queues.get(pool)?.isInUse === false) queues.delete(pool)
      }
      const wake = () => {
        for (const [queue, maxConcurrent] of busy) {
          queue.admitWaiting(maxConcurrent)
          if (queue.waiting === 0) busy.delete(queue)
        }
        if (busy.size === 0) timers.remove(ticker)
      }
      const ticker: Timed = {
        dueAt: Number.POSITIVE_INFINITY,
        expire: (now) => {
          ticker.dueAt = now + tickMillis
          wake()
        }
      }

      const wait = <A, E>(entry: Entry<A, E>, holdsPermit: boolean) =>
        Effect.callback<A, E | QueueTimeout | DeadlineExceeded>((resume) => {
          // Looked up here: others may have run since the request was told to wait.
          const queue = queueOf(entry.pool)
          const now = clock.now()
          const leaveAt = now + Math.max(0, entry.queueTimeout - entry.waited())
          const timed: Timed = {
            dueAt: Math.min(leaveAt, entry.deadline),
            expire: (now) => {
              leaveQueue()
              const retryAfter = queue.retryAfter(now, entry.queueTimeout / 1000)
              resume(Effect.fail(leaveAt <= entry.deadline ? waitedTooLong(retryAfter) : pastDeadline()))
            }
          }
          const waiter: Waiter = {
            group: entry.group,
            priority: entry.priority,
            order: order++,
            holdsPermit,
            tryAcquire: (maxConcurrent) => {
              const attempted = holdsPermit ? entry.attempt() : attemptWith(queue.permits, maxConcurrent, entry)
              if (attempted._tag === "Wait") return "wait"
              // First out of the queue, then told: the one that is told runs on at once, and may wake the queue itself.
              leaveQueue()
              if (attempted._tag === "Refused") {
                resume(Effect.fail(attempted.error))
                return "gone"
              }
              resume(Effect.succeed(attempted.value))
              return "entered"
            }
          }
          const leaveQueue = () => {
            timers.remove(timed)
            queue.remove(waiter)
            forgetUnused(entry.pool)
          }
          queue.enqueue(waiter)
          if (busy.size === 0) {
            ticker.dueAt = now + tickMillis
            timers.add(ticker)
          }
          busy.set(queue, entry.maxConcurrent)
          timers.add(timed)
          return Effect.sync(leaveQueue)
        })

      const acquire = <A, E>(entry: Entry<A, E>): Effect.Effect<A, E | QueueFull | QueueTimeout | DeadlineExceeded> => {
        const queue = queueOf(entry.pool)
        const attempted = acquireNow(queue, entry)
        if (attempted._tag === "Granted") return Effect.succeed(attempted.value)
        if (attempted._tag === "Refused") {
          forgetUnused(entry.pool)
          return Effect.fail(attempted.error)
        }
        return queue.queued >= entry.maxQueue
          ? Effect.fail(queueFull(queue.retryAfter(clock.now(), entry.queueTimeout / 1000)))
          : wait(entry, false)
      }

      const reacquire = <A, E>(entry: Entry<A, E>): Effect.Effect<A, E | QueueTimeout | DeadlineExceeded> => {
        const attempted = entry.attempt()
        if (attempted._tag === "Granted") return Effect.succeed(attempted.value)
        if (attempted._tag === "Refused") return Effect.fail(attempted.error)
        return wait(entry, true)
      }

      return Admission.of({
        acquire: (entry) => Effect.suspend(() => acquire(entry)),
        tryAcquire: (entry) => {
          const attempted = acquireNow(queueOf(entry.pool), entry)
          return attempted._tag === "Granted" ? attempted.value : undefined
        },
        reacquire: (entry) => Effect.suspend(() => reacquire(entry)),
        release: (pool, maxConcurrent) => {
          const queue = queueOf(pool)
          queue.permits.release()
          queue.departed(clock.now())
          if (busy.has(queue)) busy.set(queue, maxConcurrent)
          wake()
          forgetUnused(pool)
        },
        wake: wake,
        depth: (pool) => queues.get(pool)?.queued ?? 0,
        active: (pool) => queues.get(pool)?.permits.active ?? 0,
        retryAfter: (pool, queueTimeout) => queueOf(pool).retryAfter(clock.now(), queueTimeout / 1000)
      })
    })
  )
}

/** A permit and what it is for, where nothing has to be waited for. */
const acquireNow = <A, E>(queue: WaitQueue, entry: Entry<A, E>): Attempted<A, E> =>
  queue.isBehind(entry.group, entry.priority) ? mustWait : attemptWith(queue.permits, entry.maxConcurrent, entry)

const mustWait: Attempted<never, never> = { _tag: "Wait" }

/**
 * A permit and what `attempt` grants, or neither. The permit comes first: another process may take the last one, and what
 * `attempt` has granted cannot be undone.
 */
const attemptWith = <A, E>(permits: Permits, maxConcurrent: number, entry: Entry<A, E>): Attempted<A, E> => {
  if (!permits.tryTake(maxConcurrent)) return mustWait
  let isGranted = false
  try {
    const attempted = entry.attempt()
    isGranted = attempted._tag === "Granted"
    if (isGranted) entry.onPermit()
    return attempted
  } finally {
    if (!isGranted) permits.release()
  }
}

const queueFull = (retryAfter: number) =>
  new QueueFull({ message: "All places in the queue are taken. Please try again later.", retryAfter })

const waitedTooLong = (retryAfter: number) =>
  new QueueTimeout({ message: "No backend became free in time. Please try again later.", retryAfter })

const pastDeadline = () => new DeadlineExceeded({ message: "The request's deadline passed while it waited." })
