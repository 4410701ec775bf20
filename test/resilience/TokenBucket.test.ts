import { assert, describe, it } from "@effect/vitest"
import { TokenBucket } from "../../src/resilience/TokenBucket.ts"
import { fc } from "../registry/Properties.ts"

describe("a token bucket", () => {
  it("is full at first: the whole burst may be used at once, and nothing beyond", () => {
    const bucket = new TokenBucket(3, 1, 0)
    assert.deepStrictEqual(
      [1, 2, 3, 4].map(() => bucket.take(1, 0)),
      [true, true, true, false]
    )
  })

  it("fills by itself at its rate, up to its capacity", () => {
    const bucket = new TokenBucket(10, 2, 0)
    bucket.take(10, 0)
    assert.strictEqual(bucket.level(1500), 3)
    assert.strictEqual(bucket.level(60_000), 10)
  })

  it("takes nothing where it refuses", () => {
    const bucket = new TokenBucket(2, 1, 0)
    bucket.take(1, 0)
    assert.isFalse(bucket.take(2, 0))
    assert.strictEqual(bucket.level(0), 1)
  })

  it("lets through what is larger than itself when it is full, and is in debt for it afterwards", () => {
    const bucket = new TokenBucket(10, 1, 0)
    bucket.take(1, 0)
    assert.isFalse(bucket.take(25, 0))
    assert.isTrue(bucket.take(25, 1000))
    assert.strictEqual(bucket.level(1000), -15)
    assert.strictEqual(bucket.waitFor(1, 1000), 16_000)
    assert.strictEqual(bucket.fullIn(1000), 25_000)
  })

  it("takes back what was not used, never above its capacity, and takes what was used beyond", () => {
    const bucket = new TokenBucket(10, 1, 0)
    bucket.take(6, 0)
    bucket.settle(2, 0)
    assert.strictEqual(bucket.level(0), 6)
    bucket.settle(100, 0)
    assert.strictEqual(bucket.level(0), 10)
    bucket.settle(-30, 0)
    assert.strictEqual(bucket.level(0), -20)
  })

  it("does not mind a clock that stands still or is read late", () => {
    const bucket = new TokenBucket(10, 1, 5000)
    bucket.take(5, 5000)
    assert.strictEqual(bucket.level(4000), 5)
    assert.strictEqual(bucket.level(6000), 6)
  })

  const shape = fc.record({
    capacity: fc.integer({ min: 1, max: 1000 }),
    perSecond: fc.oneof(fc.integer({ min: 1, max: 10_000 }), fc.double({ min: 0.01, max: 100, noNaN: true }))
  })
  const ask = fc.record({
    pause: fc.oneof(fc.constant(0), fc.nat({ max: 5000 })),
    share: fc.double({ min: 0, max: 1, noNaN: true })
  })

  it("never gives more over any stretch of time than its burst and its rate allow", () => {
    fc.assert(
      fc.property(shape, fc.array(ask, { maxLength: 60, size: "max" }), ({ capacity, perSecond }, asks) => {
        const bucket = new TokenBucket(capacity, perSecond, 0)
        const given: Array<{ readonly at: number; readonly cost: number }> = []
        let now = 0
        for (const { pause, share } of asks) {
          now += pause
          const cost = Math.ceil(share * capacity)
          if (bucket.take(cost, now)) given.push({ at: now, cost })
        }
        for (const [from, first] of given.entries()) {
          let sum = 0
          for (const { at, cost } of given.slice(from)) {
            sum += cost
            assert.isAtMost(sum, capacity + ((at - first.at) * perSecond) / 1000 + 1e-5)
          }
        }
      })
    )
  })

  it("gives a waiting request its tokens exactly when it says, and no sooner", () => {
    fc.assert(
      fc.property(shape, fc.array(ask, { maxLength: 30, size: "max" }), ask, ({ capacity, perSecond }, asks, last) => {
        const bucket = new TokenBucket(capacity, perSecond, 0)
        let now = 0
        for (const { pause, share } of asks) {
          now += pause
          bucket.take(Math.ceil(share * capacity), now)
        }
        const cost = Math.ceil(last.share * capacity)
        const wait = bucket.waitFor(cost, now)
        if (wait > 1) assert.isFalse(bucket.take(cost, now + wait / 2))
        assert.isTrue(bucket.take(cost, now + wait))
      })
    )
  })
})
