import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { MonotonicClock } from "../../src/domain/MonotonicClock.ts"

describe("the monotonic clock", () => {
  it.live("is that of the process where a program runs for real, read without a bigint", () =>
    Effect.gen(function* () {
      const clock = yield* MonotonicClock
      const before = performance.now()
      const told = clock.now()
      assert.isTrue(before <= told && told <= performance.now())
    }).pipe(Effect.provide(MonotonicClock.layer))
  )

  it.effect("is virtual under a test clock, with its fractions", () =>
    Effect.gen(function* () {
      const clock = yield* MonotonicClock
      assert.strictEqual(clock.now(), 0)
      yield* TestClock.adjust("12500 micros")
      assert.strictEqual(clock.now(), 12.5)
    }).pipe(Effect.provide(MonotonicClock.layer))
  )
})
