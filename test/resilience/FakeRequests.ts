/** Requests as `Admission` sees them: they come, wait, hold a permit and a backend's slot, look again, and go. */
import { Effect, Exit, Fiber, type Scope } from "effect"
import type { DeadlineExceeded, QueueFull, QueueTimeout } from "../../src/domain/Errors.ts"
import type { Admission, Attempted, Entry } from "../../src/resilience/Admission.ts"

/** How a request may fail: refused by the admission, or for a reason that its test names. */
type Refusal = string | DeadlineExceeded | QueueFull | QueueTimeout

/** Backends that can replace each other, by what is free on all of them. */
export class Slots {
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

export interface FakeRequest {
  readonly name: number
  readonly group: string
  readonly priority: number
  /** Has a permit. */
  permitted: boolean
  /** Has a slot of a backend. */
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

export interface RequestOptions {
  readonly slots: Slots
  readonly group?: string
  readonly priority?: number
  readonly deadline?: number
  /** Is done as soon as it is in. */
  readonly brief?: boolean
  /** What becomes of it where no slot is free: it waits, or is turned away. */
  readonly otherwise?: () => Attempted<never, string>
  /** Is called in the moment that it gets a permit. */
  readonly onPermit?: (request: FakeRequest) => void
}

const usual = { pool: "p", maxConcurrent: 2, maxQueue: 10, queueTimeout: 30_000, waited: () => 0 }

export type Bounds = typeof usual

const wait: Attempted<never, never> = { _tag: "Wait" }

export class FakeRequests {
  readonly #admission: Admission["Service"]
  readonly #bounds: Bounds
  readonly all: Array<FakeRequest> = []

  constructor(admission: Admission["Service"], bounds: Partial<Bounds> = {}) {
    this.#admission = admission
    this.#bounds = { ...usual, ...bounds }
  }

  get waiting(): ReadonlyArray<FakeRequest> {
    return this.all.filter(({ asking, permitted }) => asking && !permitted)
  }

  get atWork(): ReadonlyArray<FakeRequest> {
    return this.all.filter(({ asking, leased }) => leased && !asking)
  }

  /** What became of each: let in, waiting, or why not. */
  get told(): ReadonlyArray<string> {
    return this.all.map(({ exit, leased }) => (exit === undefined ? (leased ? "in" : "waits") : describe(exit)))
  }

  /** Comes in; it has asked by the time this returns. */
  readonly come = (options: RequestOptions): Effect.Effect<FakeRequest, never, Scope.Scope> => {
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
      const { slots } = options
      const release = () => {
        if (!request.leased) return
        request.leased = false
        slots.free++
        admission.wake()
      }
      const ended = (exit: Exit.Exit<void, Refusal>) => {
        request.asking = false
        request.exit = exit
        release()
        if (!request.permitted) return
        request.permitted = false
        admission.release(bounds.pool, bounds.maxConcurrent)
      }
      const entry: Entry<void, string> = {
        ...bounds,
        group: options.group ?? "g",
        priority: options.priority ?? 0,
        deadline: options.deadline ?? Number.POSITIVE_INFINITY,
        attempt: () => {
          if (!slots.take()) return options.otherwise?.() ?? wait
          request.leased = true
          return { _tag: "Granted", value: undefined }
        },
        onPermit: () => {
          request.permitted = true
          options.onPermit?.(request)
        }
      }
      const ask = (asked: Effect.Effect<void, Refusal>) =>
        Effect.suspend(() => {
          request.asking = true
          return Effect.tap(asked, () =>
            Effect.sync(() => {
              request.asking = false
            })
          )
        })
      const live = Effect.gen(function* () {
        yield* ask(admission.acquire(entry))
        if (options.brief === true) return
        while ((yield* order) === "again") {
          release()
          yield* ask(admission.reacquire(entry))
        }
      }).pipe(Effect.onExit((exit) => Effect.sync(() => ended(exit))))
      const fiber = Effect.suspend(() => running)
      const request: FakeRequest = {
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
      all.push(request)
      const running = Effect.succeed(yield* Effect.forkScoped(live, { startImmediately: true }))
      return request
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
