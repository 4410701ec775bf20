/** The inference engine: a {@link Batch} that one fiber moves on with the clock. */
import { Clock, Deferred, Effect, Latch, Queue, type Scope } from "effect"
import { type BatchSettings, type Job, makeBatch, type Sequence, type Totals } from "./Batch.ts"
import { makeLoadWindow } from "./LoadWindow.ts"

export type { FinishReason, Job, Totals } from "./Batch.ts"

/** One job's progress, as its client can follow it. */
export interface Generation {
  /** The prefill is done; tells how many tokens of the prompt were remembered. */
  readonly started: Effect.Effect<number>
  /** One more token is there. */
  readonly token: Effect.Effect<void>
  /** All tokens are there. */
  readonly finished: Effect.Effect<void>
}

/** What a monitor sees. */
export interface Load {
  readonly running: number
  readonly waiting: number
  /** The highest share of slots in use during the last 5 s, in per cent. */
  readonly peakPercent: number
  /** The share of the cache's capacity that running sequences hold, 0 to 1. */
  readonly cacheUse: number
}

export interface Engine {
  /** Queues a job. Closing the scope gives its place up at once, in whatever phase. */
  readonly submit: (job: Job) => Effect.Effect<Generation, never, Scope.Scope>
  readonly load: () => Load
  readonly totals: () => Readonly<Totals>
  /** Zeroes the totals; with `cacheToo` it forgets all prompts as well. */
  readonly reset: (cacheToo: boolean) => void
}

/** Seconds of {@link Load.peakPercent}. */
export const loadWindowSeconds = 5

/** Starts an engine that lives as long as the scope. */
export const makeEngine = Effect.fnUntraced(function* (settings: BatchSettings) {
  const clock = yield* Clock.Clock
  const batch = makeBatch(settings)
  const wake = Latch.makeUnsafe()
  const window = makeLoadWindow(loadWindowSeconds * 1000)

  const now = (): number => clock.currentTimeMillisUnsafe()
  const percent = (): number => Math.round((100 * batch.running()) / settings.slots)
  const changed = (): void => {
    window.note(percent(), now())
    wake.openUnsafe()
  }

  const turn = Effect.suspend(() => {
    batch.advance(now())
    window.note(percent(), now())
    const at = batch.nextAt()
    wake.closeUnsafe()
    if (at === undefined) return wake.await
    const wait = Math.ceil(at - now())
    return wait <= 0 ? Effect.yieldNow : Effect.timeoutOrElse(wake.await, { duration: wait, orElse: () => Effect.void })
  })
  yield* Effect.forkScoped(Effect.forever(turn))

  const submit = Effect.fnUntraced(function* (job: Job) {
    const started = yield* Deferred.make<number>()
    const finished = yield* Deferred.make<void>()
    const tokens = yield* Queue.unbounded<void>()
    const sequence: Sequence = {
      job,
      onStart: (cached) => Deferred.doneUnsafe(started, Effect.succeed(cached)),
      onToken: () => Queue.offerUnsafe(tokens, undefined),
      onFinish: () => Deferred.doneUnsafe(finished, Effect.void),
      cached: 0,
      emitted: 0,
      dueAt: undefined,
      paused: false
    }
    yield* Effect.acquireRelease(
      Effect.sync(() => {
        batch.join(sequence, now())
        changed()
      }),
      () =>
        Effect.sync(() => {
          batch.leave(sequence, now())
          changed()
        })
    )
    const generation: Generation = {
      started: Deferred.await(started),
      token: Queue.take(tokens),
      finished: Deferred.await(finished)
    }
    return generation
  })

  const capacity = settings.cacheTokens > 0 ? settings.cacheTokens : Number.POSITIVE_INFINITY
  const engine: Engine = {
    submit,
    load: () => ({
      running: batch.running(),
      waiting: batch.waiting(),
      peakPercent: window.peak(now()),
      cacheUse: Math.min(1, batch.heldTokens() / capacity)
    }),
    totals: batch.totals,
    reset: batch.reset
  }
  return engine
})
