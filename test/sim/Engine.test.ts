import { assert, describe, it } from "@effect/vitest"
import { Clock, Deferred, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import type { BatchSettings } from "../../src/sim/Batch.ts"
import { type Engine, type Generation, type Job, makeEngine } from "../../src/sim/Engine.ts"
import { promptOf } from "../../src/sim/Tokens.ts"

const settings: BatchSettings = { ttft: 50, itl: 10, prefill: 1000, slowdown: 0.5, slots: 2, cacheTokens: 10_000 }

/** 0 tokens of prefill cost next to nothing, so times are round. */
const shortJob: Job = { prompt: { tokens: 0, blocks: [] }, outputTokens: 3, reason: "stop" }

/** When each token came, in milliseconds from now. */
const timesOf = Effect.fnUntraced(function* (generation: Generation, count: number) {
  const begin = yield* Clock.currentTimeMillis
  return yield* Effect.replicateEffect(
    Effect.andThen(
      generation.token,
      Effect.map(Clock.currentTimeMillis, (now) => now - begin)
    ),
    count
  )
})

/** Runs a job to its end and tells the times of its tokens. */
const runJob = (engine: Engine, job: Job) =>
  Effect.scoped(Effect.flatMap(engine.submit(job), (generation) => timesOf(generation, job.outputTokens)))

/** Starts a job that stays until its fiber is interrupted; returns when it is in the books. */
const hold = Effect.fnUntraced(function* (engine: Engine, job: Job) {
  const submitted = yield* Deferred.make<void>()
  const fiber = yield* Effect.forkChild(
    Effect.scoped(
      engine.submit(job).pipe(Effect.andThen(Deferred.succeed(submitted, undefined)), Effect.andThen(Effect.never))
    )
  )
  yield* Deferred.await(submitted)
  return fiber
})

describe("the engine's time", () => {
  it.effect("is ttft to the first token, then itl from token to token", () =>
    Effect.gen(function* () {
      const engine = yield* makeEngine(settings)
      const fiber = yield* Effect.forkChild(runJob(engine, shortJob))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(fiber), [50, 60, 70])
    })
  )

  it.effect("the time to the first token grows with the prompt, and shrinks when the prompt is remembered", () =>
    Effect.gen(function* () {
      const engine = yield* makeEngine(settings)
      const job: Job = { prompt: promptOf("p".repeat(4000)), outputTokens: 1, reason: "stop" }
      const first = yield* Effect.forkChild(runJob(engine, job))
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* Fiber.join(first), [50 + 1000])
      const second = yield* Effect.forkChild(runJob(engine, job))
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* Fiber.join(second), [50 + 1000 - 992])
      assert.strictEqual(engine.totals().cachedTokens, 992)
    })
  )

  it.effect("the time between tokens grows with the number of running sequences", () =>
    Effect.gen(function* () {
      const engine = yield* makeEngine(settings)
      const both = yield* Effect.forkChild(
        Effect.all([runJob(engine, shortJob), runJob(engine, shortJob)], { concurrency: 2 })
      )
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(both), [
        [50, 65, 80],
        [50, 65, 80]
      ])
    })
  )

  it.effect("stands still for a sequence that is paused, and for no other", () =>
    Effect.gen(function* () {
      const engine = yield* makeEngine({ ...settings, slowdown: 0 })
      const paused = { ...shortJob, pause: { after: 1, millis: 500 } }
      const both = yield* Effect.forkChild(
        Effect.all([runJob(engine, paused), runJob(engine, shortJob)], { concurrency: 2 })
      )
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(both), [
        [50, 550, 560],
        [50, 60, 70]
      ])
    })
  )
})

describe("slots", () => {
  it.effect("are never more in use than there are, and the waiting come in order of arrival", () =>
    Effect.gen(function* () {
      const engine = yield* makeEngine({ ...settings, slowdown: 0 })
      const order: Array<number> = []
      const all = yield* Effect.forkChild(
        Effect.forEach(
          [0, 1, 2, 3, 4],
          (index) =>
            Effect.andThen(
              runJob(engine, { ...shortJob, outputTokens: 1 }),
              Effect.sync(() => order.push(index))
            ),
          { concurrency: 5 }
        )
      )
      yield* TestClock.adjust("49 millis")
      assert.deepInclude(engine.load(), { running: 2, waiting: 3, peakPercent: 100 })
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(all)
      assert.deepStrictEqual(order, [0, 1, 2, 3, 4])
      assert.strictEqual(engine.totals().maxRunning, 2)
      assert.deepInclude(engine.load(), { running: 0, waiting: 0 })
    })
  )

  it.effect("are given up at once by a job that leaves, whether it waits, computes its prompt or generates", () =>
    Effect.gen(function* () {
      const engine = yield* makeEngine(settings)
      const long = { ...shortJob, outputTokens: 1000 }
      const generating = yield* hold(engine, long)
      yield* TestClock.adjust("100 millis")
      const computing = yield* hold(engine, long)
      const waiting = yield* hold(engine, long)
      assert.deepInclude(engine.load(), { running: 2, waiting: 1 })
      yield* Fiber.interrupt(waiting)
      assert.deepInclude(engine.load(), { running: 2, waiting: 0 })
      yield* Fiber.interrupt(computing)
      assert.deepInclude(engine.load(), { running: 1, waiting: 0 })
      const generated = engine.totals().generatedTokens
      yield* Fiber.interrupt(generating)
      yield* TestClock.adjust("1 second")
      assert.deepInclude(engine.load(), { running: 0, waiting: 0 })
      assert.strictEqual(engine.totals().generatedTokens, generated)
    })
  )

  it.effect("slots that are given up go to the next that waits", () =>
    Effect.gen(function* () {
      const engine = yield* makeEngine({ ...settings, slots: 1 })
      const first = yield* hold(engine, { ...shortJob, pause: { after: 0, millis: Number.POSITIVE_INFINITY } })
      const second = yield* Effect.forkChild(runJob(engine, shortJob))
      yield* TestClock.adjust("1 minute")
      assert.deepInclude(engine.load(), { running: 1, waiting: 1 })
      yield* Fiber.interrupt(first)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(second), [60_050, 60_060, 60_070])
    })
  )
})

describe("the load of the last five seconds", () => {
  it.effect("is the highest of them, and is over after them", () =>
    Effect.gen(function* () {
      const engine = yield* makeEngine(settings)
      const fiber = yield* hold(engine, shortJob)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(engine.load().peakPercent, 50)
      yield* TestClock.adjust("4 seconds")
      assert.strictEqual(engine.load().peakPercent, 50)
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(engine.load().peakPercent, 0)
    })
  )
})
