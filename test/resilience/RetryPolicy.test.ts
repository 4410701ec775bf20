import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import { MonotonicClock } from "../../src/domain/MonotonicClock.ts"
import { RetryPolicy, TryAgain } from "../../src/resilience/RetryPolicy.ts"
import { lone, poolOf, snapshotOf } from "../registry/Fixtures.ts"
import { layerTime } from "../Time.ts"

const layer = RetryPolicy.layer.pipe(Layer.provideMerge(layerTime))

const poolWith = (retry: object) => Effect.map(lone({}, { retry }), ({ pool }) => pool)

/** Takes until nothing is left; how many there were. */
const takeAll = (take: () => boolean): number => {
  let taken = 0
  while (taken < 100_000 && take()) taken++
  return taken
}

describe("the budget of retries", () => {
  const withBudget = <A>(
    budget: number,
    use: (on: {
      readonly requests: (count: number) => void
      readonly left: (inflight?: number) => number
    }) => Effect.Effect<A>
  ) =>
    Effect.gen(function* () {
      const policy = yield* RetryPolicy
      const pool = yield* poolWith({ budget })
      return yield* use({
        requests: (count) => {
          for (let i = 0; i < count; i++) policy.requested(pool)
        },
        left: (inflight = 0) => takeAll(() => policy.take(pool, inflight))
      })
    }).pipe(Effect.provide(layer))

  it.effect("is a hundred on a quiet pool, so that it can fail over too", () =>
    withBudget(0.2, ({ left }) => Effect.sync(() => assert.strictEqual(left(), 100)))
  )

  it.effect("is beyond that the configured share of the recent requests", () =>
    withBudget(0.2, ({ left, requests }) =>
      Effect.sync(() => {
        requests(5000)
        assert.strictEqual(left(), 100 + 1000)
        requests(500)
        assert.strictEqual(left(), 100)
      })
    )
  )

  it.effect("is enough for all requests of a dying backend", () =>
    withBudget(0, ({ left }) => Effect.sync(() => assert.strictEqual(left(700), 700)))
  )

  it.effect("comes back by itself as the retries become old", () =>
    withBudget(0, ({ left }) =>
      Effect.gen(function* () {
        assert.strictEqual(left(), 100)
        yield* TestClock.adjust("8 seconds")
        assert.strictEqual(left(), 0)
        yield* TestClock.adjust("2 seconds")
        assert.strictEqual(left(), 100)
      })
    )
  )

  it.effect("forgets the requests of long ago", () =>
    withBudget(1, ({ left, requests }) =>
      Effect.gen(function* () {
        requests(5000)
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(left(), 100)
      })
    )
  )

  it.effect("is each pool's own, and survives a change of the configuration", () =>
    Effect.gen(function* () {
      const policy = yield* RetryPolicy
      const before = yield* poolWith({})
      const after = yield* poolWith({})
      const other = poolOf(yield* snapshotOf({ pools: [{ name: "q", backends: [] }] }), "q")
      assert.strictEqual(
        takeAll(() => policy.take(before, 0)),
        100
      )
      assert.isFalse(policy.take(after, 0))
      assert.isTrue(policy.take(other, 0))
    }).pipe(Effect.provide(layer))
  )
})

describe("the attempts of one request", () => {
  /** Fails on and on; when each attempt began, in virtual milliseconds. */
  const attemptsOf = Effect.fnUntraced(function* (retry: object, elsewhere: (attempt: number) => boolean) {
    const policy = yield* RetryPolicy
    const clock = yield* MonotonicClock
    const pool = yield* poolWith(retry)
    const began: Array<number> = []
    const attempt = Effect.suspend(() => {
      began.push(clock.now())
      return Effect.fail(new TryAgain(elsewhere(began.length), undefined))
    })
    const fiber = yield* Effect.forkChild(Effect.exit(Effect.retry(attempt, policy.schedule(pool))))
    yield* TestClock.adjust("1 hour")
    assert.isTrue(Exit.isFailure(yield* Fiber.join(fiber)))
    return began
  }, Effect.provide(layer))

  /** To a microsecond: the clock rounds. */
  const gaps = (times: ReadonlyArray<number>) =>
    times.slice(1).map((at, index) => Math.round((at - (times[index] ?? 0)) * 1000) / 1000)

  it.effect("are one more than `attempts` says, and one where it says none", () =>
    Effect.gen(function* () {
      assert.lengthOf(yield* attemptsOf({ attempts: 3 }, () => true), 4)
      assert.lengthOf(yield* attemptsOf({ attempts: 0 }, () => true), 1)
    })
  )

  it.effect("go to another backend at once", () =>
    Effect.gen(function* () {
      const began = yield* attemptsOf({ attempts: 4 }, () => true)
      assert.deepStrictEqual(gaps(began), [0, 0, 0, 0])
    })
  )

  it.effect("attempts at the same backend wait for a time that doubles, jittered by a fifth, up to the longest", () =>
    Effect.gen(function* () {
      const began = yield* attemptsOf({ attempts: 6, initialDelay: "100ms", maxDelay: "1s" }, () => false)
      const delays = gaps(began)
      for (const [index, nominal] of [100, 200, 400, 800].entries()) {
        assert.isAtLeast(delays[index] ?? 0, nominal * 0.8)
        assert.isAtMost(delays[index] ?? Number.NaN, Math.min(1000, nominal * 1.2))
      }
      assert.deepStrictEqual(delays.slice(4), [1000, 1000])
    })
  )

  it.effect("wait only where there is no other backend, whatever came before", () =>
    Effect.gen(function* () {
      const retry = { attempts: 3, initialDelay: "100ms", maxDelay: "10s" }
      const delays = gaps(yield* attemptsOf(retry, (attempt) => attempt !== 2))
      assert.deepStrictEqual([delays[0], delays[2]], [0, 0])
      assert.isAtLeast(delays[1] ?? 0, 80)
      assert.isAtMost(delays[1] ?? Number.NaN, 240)
    })
  )

  it.effect("never wait for longer than the longest, however many there are", () =>
    Effect.gen(function* () {
      const began = yield* attemptsOf({ attempts: 100, initialDelay: "100ms", maxDelay: "2s" }, () => false)
      assert.lengthOf(began, 101)
      assert.isAtMost(Math.max(...gaps(began)), 2000)
    })
  )

  it.effect("are counted for each request by itself, though a pool has one schedule", () =>
    Effect.gen(function* () {
      const policy = yield* RetryPolicy
      const pool = yield* poolWith({ attempts: 2 })
      let attempts = 0
      const failing = Effect.suspend(() => {
        attempts++
        return Effect.fail(new TryAgain(true, undefined))
      })
      const request = Effect.exit(Effect.retry(failing, policy.schedule(pool)))
      yield* Effect.all([request, request, request], { concurrency: "unbounded" })
      assert.strictEqual(attempts, 9)
    }).pipe(Effect.provide(layer))
  )
})
