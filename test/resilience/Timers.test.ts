import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { MonotonicClock } from "../../src/domain/MonotonicClock.ts"
import { type Timed, Timers } from "../../src/resilience/Timers.ts"
import { fc } from "../registry/Properties.ts"
import { layerTime } from "../Time.ts"
import { forAll } from "./Programs.ts"

const never = Number.POSITIVE_INFINITY

/** Notes when it was told. */
const alarm = (dueAt: number): Timed & { readonly told: ReadonlyArray<number> } => {
  const told: Array<number> = []
  return { dueAt, told, expire: (now) => told.push(now) }
}

const withDeadlines = <A>(use: (timers: Timers["Service"], now: () => number) => Effect.Effect<A>) =>
  Effect.flatMap(Effect.all([Timers, MonotonicClock]), ([timers, clock]) => use(timers, clock.now)).pipe(
    Effect.provide(layerTime)
  )

describe("a due time", () => {
  it("is met within 20 ms and never early, whatever is due and whenever it was set", () =>
    forAll(
      fc.array(fc.record({ pause: fc.nat({ max: 60 }), after: fc.nat({ max: 500 }) }), {
        minLength: 1,
        maxLength: 30,
        size: "max"
      }),
      layerTime,
      Effect.fnUntraced(function* (plans) {
        const { now } = yield* MonotonicClock
        const timers = yield* Timers
        const alarms: Array<readonly [ReturnType<typeof alarm>, due: number]> = []
        for (const { after, pause } of plans) {
          yield* TestClock.adjust(pause)
          const due = now() + after
          const one = alarm(due)
          timers.add(one)
          alarms.push([one, due])
        }
        yield* TestClock.adjust(600)
        for (const [{ told }, due] of alarms) {
          assert.lengthOf(told, 1)
          assert.isAtLeast(told[0] ?? 0, due)
          assert.isAtMost(told[0] ?? never, due + 20)
        }
      })
    ))

  it.effect("is moved by writing it, further or nearer, as often as one likes", () =>
    withDeadlines((timers) =>
      Effect.gen(function* () {
        const one = alarm(100)
        timers.add(one)
        for (let now = 80; now <= 800; now += 80) {
          yield* TestClock.adjust(80)
          one.dueAt = now + 100
        }
        assert.deepStrictEqual(one.told, [])
        one.dueAt = 810
        yield* TestClock.adjust(40)
        assert.deepStrictEqual(one.told, [820])
      })
    )
  )

  it.effect("a due time that has passed is told once, until it is set anew", () =>
    withDeadlines((timers) =>
      Effect.gen(function* () {
        const one = alarm(10)
        timers.add(one)
        yield* TestClock.adjust(1000)
        assert.deepStrictEqual([one.told, one.dueAt], [[20], never])
        one.dueAt = 1010
        yield* TestClock.adjust(1000)
        assert.deepStrictEqual(one.told, [20, 1020])
      })
    )
  )

  it.effect("may set the next one while it is told", () =>
    withDeadlines((timers) =>
      Effect.gen(function* () {
        const told: Array<number> = []
        const ticker: Timed = {
          dueAt: 50,
          expire: (now) => {
            told.push(now)
            ticker.dueAt = now + 50
          }
        }
        timers.add(ticker)
        yield* TestClock.adjust(300)
        assert.deepStrictEqual(told, [60, 120, 180, 240, 300])
      })
    )
  )

  it.effect("a due time that is removed in time is never told", () =>
    withDeadlines((timers) =>
      Effect.gen(function* () {
        const one = alarm(100)
        const other = alarm(100)
        timers.add(one)
        timers.add(other)
        yield* TestClock.adjust(90)
        timers.remove(one)
        yield* TestClock.adjust(1000)
        assert.deepStrictEqual([one.told, other.told], [[], [100]])
      })
    )
  )

  it.effect("is met after any stretch of time in which there was nothing to wait for", () =>
    withDeadlines((timers, now) =>
      Effect.gen(function* () {
        const first = alarm(10)
        timers.add(first)
        timers.remove(first)
        yield* TestClock.adjust("1 hour")
        const second = alarm(now() + 5)
        timers.add(second)
        yield* TestClock.adjust(100)
        assert.deepStrictEqual(second.told, [3_600_020])
      })
    )
  )

  it.effect("a due time is met even when another one that was told throws", () =>
    withDeadlines((timers) =>
      Effect.gen(function* () {
        const before = alarm(10)
        const after = alarm(10)
        const later = alarm(500)
        timers.add(before)
        timers.add({
          dueAt: 10,
          expire: () => {
            throw new Error("a bug")
          }
        })
        timers.add(after)
        timers.add(later)
        yield* TestClock.adjust(1000)
        assert.deepStrictEqual([before.told.length, after.told.length, later.told.length], [1, 1, 1])
      })
    )
  )
})

it.effect("the clock is left alone while no time is due", () =>
  withDeadlines((_timers, now) =>
    Effect.gen(function* () {
      assert.strictEqual(now(), 0)
      yield* TestClock.adjust(12.5)
      assert.strictEqual(now(), 12.5)
    })
  )
)
