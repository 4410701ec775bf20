/**
 * Back-pressure: at most n requests of a pool at work, at most m waiting, nobody longer than t; whoever waits leaves at
 * once when its client does. Entering is more than a permit: a request is in when it has a backend, so `attempt` is
 * asked in the same breath, and asked again whenever something was given back.
 */
import { Context, Effect, Layer } from "effect"
import { DeadlineExceeded, QueueFull, QueueTimeout } from "../domain/Errors.ts"
import { Deadlines, type Timed } from "./Timers.ts"
import { type Attempted, type Waiter, WaitingRoom } from "./WaitQueue.ts"

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
   * Called in the same breath as a grant that comes with a permit. What was granted must be noted here and in
   * `attempt`, not when the effect returns: an interruption can come in between.
   */
  readonly admitted: () => void
}

/** How often those who wait look again without being told: for what only time brings back. */
const lookAgain = 50

export class Admission extends Context.Service<
  Admission,
  {
    /** Gives a permit together with what `attempt` granted; whoever was `admitted` gives it back by `leave`. */
    readonly enter: <A, E>(entry: Entry<A, E>) => Effect.Effect<A, E | QueueFull | QueueTimeout | DeadlineExceeded>
    /** The same for who has a permit already: it may wait, but needs no place in the room. */
    readonly enterAgain: <A, E>(entry: Entry<A, E>) => Effect.Effect<A, E | QueueTimeout | DeadlineExceeded>
    /** Gives a permit back. */
    readonly leave: (pool: string, maxConcurrent: number) => void
    /** Something was given back that others may wait for. */
    readonly poke: () => void
    /** How many wait for a permit. */
    readonly depth: (pool: string) => number
    /** How many have one. */
    readonly active: (pool: string) => number
    /** Whole seconds after which asking a pool again is worth it. */
    readonly retryAfter: (pool: string, queueTimeout: number) => number
  }
>()("weir/resilience/Admission") {
  static readonly layer = Layer.effect(
    Admission,
    Effect.gen(function* () {
      const deadlines = yield* Deadlines
      const rooms = new Map<string, WaitingRoom>()
      // Rooms somebody waits in, with the bound that they were last given: usually none.
      const crowded = new Map<WaitingRoom, number>()
      let order = 0

      const roomOf = (pool: string): WaitingRoom => {
        const room = rooms.get(pool) ?? new WaitingRoom()
        if (!rooms.has(pool)) rooms.set(pool, room)
        return room
      }
      const poke = () => {
        for (const [room, maxConcurrent] of crowded) {
          room.admit(maxConcurrent)
          if (room.waiting === 0) crowded.delete(room)
        }
        if (crowded.size === 0) deadlines.remove(ticker)
      }
      const ticker: Timed = {
        dueAt: Number.POSITIVE_INFINITY,
        expire: (now) => {
          ticker.dueAt = now + lookAgain
          poke()
        }
      }

      const wait = <A, E>(room: WaitingRoom, entry: Entry<A, E>, holdsPermit: boolean) =>
        Effect.callback<A, E | QueueTimeout | DeadlineExceeded>((resume) => {
          const leaveAt = deadlines.now() + Math.max(0, entry.queueTimeout - entry.waited())
          const timed: Timed = {
            dueAt: Math.min(leaveAt, entry.deadline),
            expire: (now) => {
              leaveLine()
              const retryAfter = room.retryAfter(now, entry.queueTimeout / 1000)
              resume(Effect.fail(leaveAt <= entry.deadline ? waitedTooLong(retryAfter) : pastDeadline()))
            }
          }
          const waiter: Waiter = {
            group: entry.group,
            priority: entry.priority,
            order: order++,
            holdsPermit,
            tryEnter: () => {
              const attempted = entry.attempt()
              if (attempted._tag === "Wait") return "wait"
              // First out of the line, then told: the one who is told runs on at once, and may poke the room itself.
              leaveLine()
              if (attempted._tag === "Refused") {
                resume(Effect.fail(attempted.error))
                return "gone"
              }
              if (!holdsPermit) {
                room.active++
                entry.admitted()
              }
              resume(Effect.succeed(attempted.value))
              return "entered"
            }
          }
          const leaveLine = () => {
            deadlines.remove(timed)
            room.remove(waiter)
          }
          room.enqueue(waiter)
          if (crowded.size === 0) {
            ticker.dueAt = deadlines.now() + lookAgain
            deadlines.add(ticker)
          }
          crowded.set(room, entry.maxConcurrent)
          deadlines.add(timed)
          return Effect.sync(leaveLine)
        })

      const enter = <A, E>(entry: Entry<A, E>): Effect.Effect<A, E | QueueFull | QueueTimeout | DeadlineExceeded> => {
        const room = roomOf(entry.pool)
        if (room.active < entry.maxConcurrent && !room.isBehind(entry.group, entry.priority)) {
          const attempted = entry.attempt()
          if (attempted._tag === "Granted") {
            room.active++
            entry.admitted()
            return Effect.succeed(attempted.value)
          }
          if (attempted._tag === "Refused") return Effect.fail(attempted.error)
        }
        return room.queued >= entry.maxQueue
          ? Effect.fail(noRoom(room.retryAfter(deadlines.now(), entry.queueTimeout / 1000)))
          : wait(room, entry, false)
      }

      const enterAgain = <A, E>(entry: Entry<A, E>): Effect.Effect<A, E | QueueTimeout | DeadlineExceeded> => {
        const attempted = entry.attempt()
        if (attempted._tag === "Granted") return Effect.succeed(attempted.value)
        if (attempted._tag === "Refused") return Effect.fail(attempted.error)
        return wait(roomOf(entry.pool), entry, true)
      }

      return Admission.of({
        enter: (entry) => Effect.suspend(() => enter(entry)),
        enterAgain: (entry) => Effect.suspend(() => enterAgain(entry)),
        leave: (pool, maxConcurrent) => {
          const room = roomOf(pool)
          room.active--
          room.departed(deadlines.now())
          if (crowded.has(room)) crowded.set(room, maxConcurrent)
          poke()
        },
        poke,
        depth: (pool) => rooms.get(pool)?.queued ?? 0,
        active: (pool) => rooms.get(pool)?.active ?? 0,
        retryAfter: (pool, queueTimeout) => roomOf(pool).retryAfter(deadlines.now(), queueTimeout / 1000)
      })
    })
  )
}

const noRoom = (retryAfter: number) =>
  new QueueFull({ message: "All places in the queue are taken. Please try again later.", retryAfter })

const waitedTooLong = (retryAfter: number) =>
  new QueueTimeout({ message: "No backend became free in time. Please try again later.", retryAfter })

const pastDeadline = () => new DeadlineExceeded({ message: "The request's deadline passed while it waited." })
