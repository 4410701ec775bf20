import { assert, describe, it } from "@effect/vitest"
import { SlidingWindow } from "../../src/registry/SlidingWindow.ts"
import { fc } from "./Properties.ts"

const span = 10_000

describe("a sliding window", () => {
  it("counts nothing before anything happened", () => {
    const window = new SlidingWindow(span)
    assert.deepStrictEqual([window.total(5), window.failures(5), window.failureRate(5)], [0, 0, 0])
  })

  it("tells failures from successes, and their share", () => {
    const window = new SlidingWindow(span)
    for (const success of [true, false, true, true]) window.record(success, 100)
    assert.deepStrictEqual([window.total(100), window.failures(100), window.failureRate(100)], [4, 1, 0.25])
  })

  it("has forgotten everything one span later, without being told", () => {
    const window = new SlidingWindow(span)
    window.record(false, 123)
    assert.strictEqual(window.failures(123 + span * 0.9 - 1), 1)
    assert.strictEqual(window.failures(123 + span), 0)
    assert.strictEqual(window.total(123 + span * 1000), 0)
  })

  it("takes a success back as a failure, where it still remembers one", () => {
    const window = new SlidingWindow(span)
    window.record(true, 100)
    window.record(true, 100)
    window.record(true, 2000)
    window.failedAfterAll(5000)
    assert.deepStrictEqual([window.total(5000), window.failures(5000)], [3, 1])
    window.failedAfterAll(5000)
    window.failedAfterAll(5000)
    window.failedAfterAll(5000)
    assert.deepStrictEqual([window.total(5000), window.failures(5000)], [4, 4])
    assert.strictEqual(window.total(5000 + 2 * span), 0)
  })

  it("forgets at once when it is cleared", () => {
    const window = new SlidingWindow(span)
    window.record(false, 1)
    window.record(true, 1)
    window.clear()
    assert.strictEqual(window.total(1), 0)
    window.record(false, 2)
    assert.strictEqual(window.failures(2), 1)
  })

  it("counts what happened within nine tenths of the span, and nothing that is older than the span", () => {
    const event = fc.record({
      pause: fc.oneof(fc.nat({ max: 400 }), fc.nat({ max: 3 * span })),
      success: fc.boolean()
    })
    fc.assert(
      fc.property(
        fc.nat({ max: 1_000_000 }),
        fc.array(event, { maxLength: 80, size: "max" }),
        fc.nat({ max: span }),
        (start, events, wait) => {
          const window = new SlidingWindow(span)
          const seen: Array<{ readonly at: number; readonly success: boolean }> = []
          let now = start
          const check = () => {
            const within = (age: number, failuresOnly: boolean) =>
              seen.filter(({ at, success }) => now - at < age && !(failuresOnly && success)).length
            assert.isAtLeast(window.total(now), within(span * 0.9, false))
            assert.isAtMost(window.total(now), within(span, false))
            assert.isAtLeast(window.failures(now), within(span * 0.9, true))
            assert.isAtMost(window.failures(now), within(span, true))
            const total = window.total(now)
            assert.strictEqual(window.failureRate(now), total === 0 ? 0 : window.failures(now) / total)
          }
          for (const { pause, success } of events) {
            now += pause
            window.record(success, now)
            seen.push({ at: now, success })
            check()
          }
          now += wait
          check()
        }
      )
    )
  })
})
