import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect } from "effect"
import { TestClock } from "effect/testing"
import { monotonicMillis } from "../../src/domain/Time.ts"

describe("monotonic milliseconds", () => {
  it.live("are those of the process where a program runs for real, read without a bigint", () =>
    Effect.map(Clock.Clock, (clock) => {
      const before = performance.now()
      const told = monotonicMillis(clock)
      assert.isTrue(before <= told && told <= performance.now())
    })
  )

  it.effect("are virtual under a test clock, with their fractions", () =>
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      const before = monotonicMillis(clock)
      yield* TestClock.adjust("1500 micros")
      assert.closeTo(monotonicMillis(clock) - before, 1.5, 1e-9)
    })
  )
})
