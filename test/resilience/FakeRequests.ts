/** Requests as `Admission` sees them: they come, wait, hold a permit and a backend's place, look again, and go. */
import { Effect, Exit, Fiber, type Scope } from "effect"
import type { DeadlineExceeded, QueueFull, QueueTimeout } from "../../src/domain/Errors.ts"
import type { Admission, Attempted, Entry } from "../../src/resilience/Admission.ts"

/** How a visit may fail: refused by the admission, or by what the visitor does (its own words). */
type Refusal = string | DeadlineExceeded | QueueFull | QueueTimeout

/** Backends that can stand in for each other, by what is free on all of them. */
export class Places {
  free: number
  constructor(free: number) {
    this.free = free
  }
  take(): boolean {
    if (this.free <= 0) return false
    this.free--
    return true
  }
}

export interface Visitor {
  readonly name: number
  readonly group: string
  readonly priority: number
  /** Has a permit. */
  permitted: boolean
  /** Has a place on a backend. */
  leased: boolean
  /** Has asked and got no answer yet. */
  asking: boolean
  /** How it ended, once it has. */
  exit: Exit.Exit<void, Refusal> | undefined
  /** Has what it needs and goes when it is done. */
  readonly finish: Effect.Effect<void>
  /** Its backend failed: it needs another one. */
  readonly again: Effect.Effect<void>
  /** Its client leaves. */
  readonly interrupt: Effect.Effect<void>
}

export interface Request {
  readonly places: Places
  readonly group?: string
  readonly priority?: number
  readonly deadline?: number
  /** Is done as soon as it is in. */
  readonly brief?: boolean
  /** What becomes of whoever finds no place: waits, or is turned away. */
  readonly otherwise?: () => Attempted<never, string>
  /** Is called in the moment that it gets a permit. */
  readonly onAdmitted?: (visitor: Visitor) => void
}

const usual = { pool: "p", maxConcurrent: 2, maxQueue: 10, queueTimeout: 30_000, waited: () => 0 }

export type Bounds = typeof usual

const wait: Attempted<never, never> = { _tag: "Wait" }

export class FakeRequests {
  readonly #admission: Admission["Service"]
  readonly #bounds: Bounds
  readonly all: Array<Visitor> = []

  constructor(admission: Admission["Service"], bounds: Partial<Bounds> = {}) {
    this.#admission = admission
    this.#bounds = { ...usual, ...bounds }
  }

  get waiting(): ReadonlyArray<Visitor> {
    return this.all.filter(({ asking, permitted }) => asking && !permitted)
  }

  get atWork(): ReadonlyArray<Visitor> {
    return this.all.filter(({ asking, leased }) => leased && !asking)
  }

  /** What each was told: its place, or why not. */
  get told(): ReadonlyArray<string> {
    return this.all.map(({ exit, leased }) => (exit === undefined ? (leased ? "in" : "waits") : describe(exit)))
  }

  /** Comes in; it has asked by the time this returns. */
  readonly come = (request: Request): Effect.Effect<Visitor, never, Scope.Scope> => {
    const admission = this.#admission
    const bounds = this.#bounds
    const all = this.all
    return Effect.gen(function* () {
      type Order = "finish" | "again"
      // Carried out in the moment that it is given.
      let give: (order: Effect.Effect<Order>) => void = () => {}
      const order = Effect.callback<Order>((resume) => {
        give = resume
      })
      const ordered = (what: Order) => Effect.sync(() => give(Effect.succeed(what)))
      const { places } = request
      const release = () => {
        if (!visitor.leased) return
        visitor.leased = false
        places.free++
        admission.wake()
      }
      const land = (exit: Exit.Exit<void, Refusal>) => {
        visitor.asking = false
        visitor.exit = exit
        release()
        if (!visitor.permitted) return
        visitor.permitted = false
        admission.release(bounds.pool, bounds.maxConcurrent)
      }
      const entry: Entry<void, string> = {
        ...bounds,
        group: request.group ?? "g",
        priority: request.priority ?? 0,
        deadline: request.deadline ?? Number.POSITIVE_INFINITY,
        attempt: () => {
          if (!places.take()) return request.otherwise?.() ?? wait
          visitor.leased = true
          return { _tag: "Granted", value: undefined }
        },
        onPermit: () => {
          visitor.permitted = true
          request.onAdmitted?.(visitor)
        }
      }
      const ask = (asked: Effect.Effect<void, Refusal>) =>
        Effect.suspend(() => {
          visitor.asking = true
          return Effect.tap(asked, () =>
            Effect.sync(() => {
              visitor.asking = false
            })
          )
        })
      const live = Effect.gen(function* () {
        yield* ask(admission.acquire(entry))
        if (request.brief === true) return
        while ((yield* order) === "again") {
          release()
          yield* ask(admission.reacquire(entry))
        }
      }).pipe(Effect.onExit((exit) => Effect.sync(() => land(exit))))
      const fiber = Effect.suspend(() => running)
      const visitor: Visitor = {
        name: all.length,
        group: entry.group,
        priority: entry.priority,
        permitted: false,
        leased: false,
        asking: false,
        exit: undefined,
        finish: ordered("finish"),
        again: ordered("again"),
        interrupt: Effect.flatMap(fiber, Fiber.interrupt)
      }
      all.push(visitor)
      const running = Effect.succeed(yield* Effect.forkScoped(live, { startImmediately: true }))
      return visitor
    })
  }
}

const describe = (exit: Exit.Exit<void, Refusal>): string => {
  if (Exit.isSuccess(exit)) return "done"
  const [reason] = exit.cause.reasons
  if (reason?._tag !== "Fail") return reason?._tag === "Interrupt" ? "left" : "broken"
  const { error } = reason
  return typeof error === "string" ? error : error._tag
}
