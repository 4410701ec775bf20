import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Result } from "effect"
import { TestClock } from "effect/testing"
import type { ApiKey } from "../../src/domain/ApiKey.ts"
import type { RateLimitExceeded } from "../../src/domain/Errors.ts"
import { MonotonicClock } from "../../src/domain/MonotonicClock.ts"
import { Capacity, Registry } from "../../src/registry/Registry.ts"
import { type KeyUse, RateLimiter } from "../../src/resilience/RateLimiter.ts"
import { configOf, must, putInForce } from "../registry/Fixtures.ts"
import { fc } from "../registry/Properties.ts"
import { layerTime } from "../Time.ts"
import { forAll } from "./Programs.ts"
import { ScriptedCapacity } from "./ScriptedCapacity.ts"

const keys = (...names: ReadonlyArray<string>) => configOf({ keys: names.map((name) => ({ name, key: `sk-${name}` })) })

const layerOver = (capacity: Layer.Layer<Capacity>) =>
  RateLimiter.layer.pipe(
    Layer.provideMerge(layerTime),
    Layer.provideMerge(Layer.unwrap(Effect.map(keys("team", "one", "two"), Registry.layerMemory))),
    Layer.provide(capacity)
  )

const layer = layerOver(Capacity.layer)

const withLimiter = <A>(use: (limiter: RateLimiter["Service"]) => Effect.Effect<A>) =>
  Effect.flatMap(RateLimiter, use).pipe(Effect.provide(layer))

const listenerWith = (rateLimit: object | undefined, name = "public") =>
  Effect.map(configOf({ listeners: [{ name, ...(rateLimit && { rateLimit }) }] }), ({ listeners }) => listeners[0])

const keyWith = (limits: object, name = "team") =>
  Effect.map(configOf({ keys: [{ name, key: `sk-${name}`, limits }] }), ({ keys }): ApiKey => must(keys[0]))

type Taken = Result.Result<KeyUse, RateLimitExceeded>

const used = (taken: Taken): KeyUse => Result.getOrThrow(taken)

const refused = (taken: Taken | undefined): RateLimitExceeded => Result.getOrThrow(Result.flip(must(taken)))

const left = (use: KeyUse, kind: "requests" | "tokens") => new Map(use.remaining()).get(kind)

describe("an address", () => {
  it.effect("may come as often as it likes where the listener has no limit", () =>
    withLimiter((limiter) =>
      Effect.gen(function* () {
        const listener = yield* listenerWith(undefined)
        for (let i = 0; i < 10_000; i++) assert.isUndefined(limiter.takeAddress(listener, "10.0.0.1"))
      })
    )
  )

  it.effect("may use its burst, then so many a second, and is told when to come again", () =>
    withLimiter((limiter) =>
      Effect.gen(function* () {
        const listener = yield* listenerWith({ perSecond: 2, burst: 5 })
        const passed = (tries: number) =>
          Array.from({ length: tries }, () => limiter.takeAddress(listener, "10.0.0.1")).filter((r) => r === undefined)
            .length
        assert.strictEqual(passed(50), 5)
        assert.deepInclude(must(limiter.takeAddress(listener, "10.0.0.1")), {
          status: 429,
          code: "rate_limit_exceeded",
          retryAfter: 1
        })
        yield* TestClock.adjust("3 seconds")
        assert.strictEqual(passed(50), 5)
        yield* TestClock.adjust("1 second")
        assert.strictEqual(passed(50), 2)
      })
    )
  )

  it.effect("is not limited by what others do, nor by what it does on another listener", () =>
    withLimiter((limiter) =>
      Effect.gen(function* () {
        const one = yield* listenerWith({ perSecond: 1, burst: 1 }, "one")
        const two = yield* listenerWith({ perSecond: 1, burst: 1 }, "two")
        assert.isUndefined(limiter.takeAddress(one, "10.0.0.1"))
        assert.isUndefined(limiter.takeAddress(one, "10.0.0.2"))
        assert.isUndefined(limiter.takeAddress(two, "10.0.0.1"))
        must(limiter.takeAddress(one, "10.0.0.1"))
      })
    )
  )

  it.effect("shares its limit with all of its IPv6 /64, and with no other", () =>
    withLimiter((limiter) =>
      Effect.gen(function* () {
        const one = yield* listenerWith({ perSecond: 1, burst: 3 })
        for (const host of [":1", ":2", "ffff:0:0:1"]) {
          assert.isUndefined(limiter.takeAddress(one, `2001:db8:0:7:${host}`))
        }
        must(limiter.takeAddress(one, "2001:db8:0:7:1:2:3:4"))
        assert.isUndefined(limiter.takeAddress(one, "2001:db8:0:8::1"))
        assert.isUndefined(limiter.takeAddress(one, "10.0.0.1"))
        assert.isUndefined(limiter.takeAddress(one, "10.0.0.2"))
      })
    )
  )

  for (const [what, changed] of [
    ["burst", { perSecond: 1, burst: 20 }],
    ["rate", { perSecond: 10, burst: 10 }]
  ] as const) {
    it.effect(`is held to a new ${what} at once when the configuration changes`, () =>
      withLimiter((limiter) =>
        Effect.gen(function* () {
          const before = yield* listenerWith({ perSecond: 1, burst: 10 })
          const after = yield* listenerWith(changed)
          for (let i = 0; i < 10; i++) limiter.takeAddress(before, "a")
          limiter.takeAddress(after, "a")
          for (let i = 0; i < 50; i++) limiter.takeAddress(after, "a")
          yield* TestClock.adjust("2 seconds")
          let passed = 0
          while (limiter.takeAddress(after, "a") === undefined) passed++
          assert.strictEqual(passed, Math.min(changed.burst, changed.perSecond * 2))
        })
      )
    )
  }

  it.effect("an address that comes on and on is remembered however many others come once", () =>
    withLimiter((limiter) =>
      Effect.gen(function* () {
        const listener = yield* listenerWith({ perSecond: 1, burst: 1 })
        assert.isUndefined(limiter.takeAddress(listener, "busy"))
        for (let i = 0; i < 250_000; i++) {
          limiter.takeAddress(listener, `10.${i}`)
          if (i % 30_000 === 0) must(limiter.takeAddress(listener, "busy"))
        }
        must(limiter.takeAddress(listener, "busy"))
      })
    )
  )

  it.effect("costs no more to look up when a great many were seen: the table has a bound", () =>
    withLimiter((limiter) =>
      Effect.gen(function* () {
        const listener = yield* listenerWith({ perSecond: 1, burst: 1 })
        let name = 0
        const strangers = (count: number): number => {
          const start = process.hrtime.bigint()
          for (let i = 0; i < count; i++) limiter.takeAddress(listener, `s${name++}`)
          return Number(process.hrtime.bigint() - start) / count
        }
        strangers(2000)
        const few = strangers(20_000)
        strangers(200_000)
        const many = Math.min(strangers(20_000), strangers(20_000), strangers(20_000))
        // Looking through the table instead of up in it was two hundred times as slow.
        assert.isBelow(many, few * 30)
        // Whoever was forgotten starts anew; memory is what it was.
        assert.isUndefined(limiter.takeAddress(listener, "s0"))
      })
    )
  )
})

describe("a key", () => {
  it.effect("a key without limits is never refused, and has nothing to tell of them", () =>
    withLimiter((limiter) =>
      Effect.gen(function* () {
        const key = yield* keyWith({})
        for (let i = 0; i < 1000; i++) {
          const use = used(limiter.takeKey(key, 1_000_000))
          assert.isUndefined(left(use, "requests"))
          assert.isUndefined(left(use, "tokens"))
        }
      })
    )
  )

  it.effect("may send so many requests a minute, and no more, however many come at once", () =>
    withLimiter((limiter) =>
      Effect.gen(function* () {
        const key = yield* keyWith({ requestsPerMinute: 60 })
        const ask = Effect.sync(() => limiter.takeKey(key, 0))
        const taken = yield* Effect.all(
          Array.from({ length: 500 }, () => Effect.andThen(Effect.yieldNow, ask)),
          { concurrency: "unbounded" }
        )
        assert.lengthOf(
          taken.filter((one) => Result.isSuccess(one)),
          60
        )
        const late = refused(taken.at(-1))
        assert.deepInclude(late, { retryAfter: 1 })
        assert.include(late.message, "60 requests per minute")
        yield* TestClock.adjust("10 seconds")
        let more = 0
        while (Result.isSuccess(limiter.takeKey(key, 0))) more++
        assert.strictEqual(more, 10)
      })
    )
  )

  it.effect("may have so many requests at once; each that ends makes room for one", () =>
    withLimiter((limiter) =>
      Effect.gen(function* () {
        const key = yield* keyWith({ concurrent: 2 })
        const first = used(limiter.takeKey(key, 0))
        used(limiter.takeKey(key, 0))
        assert.include(refused(limiter.takeKey(key, 0)).message, "2 requests at once")
        first.settle(undefined)
        used(limiter.takeKey(key, 0))
        refused(limiter.takeKey(key, 0))
      })
    )
  )

  it.effect("is charged what a request really used: less comes back, more is taken", () =>
    withLimiter((limiter) =>
      Effect.gen(function* () {
        const key = yield* keyWith({ tokensPerMinute: 1000 })
        const use = used(limiter.takeKey(key, 600))
        assert.deepInclude(left(use, "tokens"), { limit: 1000, remaining: 400 })
        use.settle(100)
        assert.deepInclude(left(use, "tokens"), { remaining: 900 })
        used(limiter.takeKey(key, 100)).settle(1500)
        const late = refused(limiter.takeKey(key, 1))
        assert.include(late.message, "1000 tokens per minute")
        assert.strictEqual(late.retryAfter, 37)
        yield* TestClock.adjust("36100 millis")
        used(limiter.takeKey(key, 1))
      })
    )
  )

  it.effect("is charged the estimate where no backend counted", () =>
    withLimiter((limiter) =>
      Effect.gen(function* () {
        const key = yield* keyWith({ tokensPerMinute: 1000 })
        const use = used(limiter.takeKey(key, 300))
        use.settle(undefined)
        assert.deepInclude(left(use, "tokens"), { remaining: 700 })
      })
    )
  )

  it.effect("may send one request that is larger than its limit, when it has used nothing", () =>
    withLimiter((limiter) =>
      Effect.gen(function* () {
        const key = yield* keyWith({ tokensPerMinute: 100 })
        const use = used(limiter.takeKey(key, 5000))
        assert.deepInclude(left(use, "tokens"), { limit: 100, remaining: 0 })
        use.settle(150)
        refused(limiter.takeKey(key, 1))
        yield* TestClock.adjust("31 seconds")
        used(limiter.takeKey(key, 1))
      })
    )
  )

  it.effect("a request that is refused for one limit is not charged for another", () =>
    withLimiter((limiter) =>
      Effect.gen(function* () {
        const key = yield* keyWith({ requestsPerMinute: 2, tokensPerMinute: 100, concurrent: 5 })
        const use = used(limiter.takeKey(key, 10))
        refused(limiter.takeKey(key, 95))
        assert.deepInclude(left(use, "requests"), { remaining: 1 })
        used(limiter.takeKey(key, 10))
        refused(limiter.takeKey(key, 10))
        assert.deepInclude(left(use, "tokens"), { remaining: 80 })
        use.settle(10)
      })
    )
  )

  it.effect("sees what is left of its limits and when they are whole again", () =>
    withLimiter((limiter) =>
      Effect.gen(function* () {
        const key = yield* keyWith({ requestsPerMinute: 60, tokensPerMinute: 6000 })
        const use = used(limiter.takeKey(key, 1500))
        assert.deepStrictEqual(left(use, "requests"), { limit: 60, remaining: 59, reset: 1000 })
        assert.deepStrictEqual(left(use, "tokens"), { limit: 6000, remaining: 4500, reset: 15_000 })
        yield* TestClock.adjust("5 seconds")
        assert.deepStrictEqual(left(use, "requests"), { limit: 60, remaining: 60, reset: 0 })
        assert.deepStrictEqual(left(use, "tokens"), { limit: 6000, remaining: 5000, reset: 10_000 })
      })
    )
  )

  it.effect("has limits of its own", () =>
    withLimiter((limiter) =>
      Effect.gen(function* () {
        const one = yield* keyWith({ requestsPerMinute: 1 }, "one")
        const two = yield* keyWith({ requestsPerMinute: 1 }, "two")
        used(limiter.takeKey(one, 0))
        used(limiter.takeKey(two, 0))
        refused(limiter.takeKey(one, 0))
      })
    )
  )

  it.effect("keeps what it has used when a configuration is read again without a change", () =>
    withLimiter((limiter) =>
      Effect.gen(function* () {
        used(limiter.takeKey(yield* keyWith({ requestsPerMinute: 1 }), 0))
        refused(limiter.takeKey(yield* keyWith({ requestsPerMinute: 1 }), 0))
      })
    )
  )

  it.effect("keeps counting what it has at work when its limits change", () =>
    withLimiter((limiter) =>
      Effect.gen(function* () {
        const before = yield* keyWith({ concurrent: 2 })
        const after = yield* keyWith({ concurrent: 3, requestsPerMinute: 100 })
        const first = used(limiter.takeKey(before, 0))
        used(limiter.takeKey(before, 0))
        used(limiter.takeKey(after, 0))
        refused(limiter.takeKey(after, 0))
        first.settle(undefined)
        used(limiter.takeKey(after, 0))
        refused(limiter.takeKey(after, 0))
      })
    )
  )

  it.effect("loses a request to another process that takes the last permit, and is charged nothing for it", () => {
    const capacity = new ScriptedCapacity()
    return Effect.gen(function* () {
      const limiter = yield* RateLimiter
      const key = yield* keyWith({ concurrent: 2, requestsPerMinute: 2, tokensPerMinute: 100 })
      capacity.isLost = true
      const lost = refused(limiter.takeKey(key, 60))
      assert.deepInclude(lost, { retryAfter: 1 })
      assert.include(lost.message, "2 requests at once")
      capacity.isLost = false
      const use = used(limiter.takeKey(key, 60))
      assert.deepInclude(left(use, "requests"), { remaining: 1 })
      assert.deepInclude(left(use, "tokens"), { remaining: 40 })
    }).pipe(Effect.provide(layerOver(capacity.layer)))
  })

  it.effect("a key that is gone is held to its limits until its last request has ended, and is forgotten then", () => {
    const capacity = new ScriptedCapacity()
    return Effect.gen(function* () {
      const limiter = yield* RateLimiter
      const registry = yield* Registry
      const key = yield* keyWith({ concurrent: 1 })
      const first = used(limiter.takeKey(key, 0))
      yield* putInForce(registry, yield* keys("one"))
      refused(limiter.takeKey(key, 0))
      first.settle(undefined)
      assert.deepStrictEqual(capacity.made, ["key team"])
      const late = used(limiter.takeKey(key, 0))
      assert.deepStrictEqual(capacity.made, ["key team", "key team"])
      refused(limiter.takeKey(key, 0))
      late.settle(undefined)
    }).pipe(Effect.provide(layerOver(capacity.layer)))
  })

  it.effect("a key that is gone with nothing at work is forgotten at once, and one that stays is not", () => {
    const capacity = new ScriptedCapacity()
    return Effect.gen(function* () {
      const limiter = yield* RateLimiter
      const registry = yield* Registry
      for (const name of ["one", "two"]) {
        used(limiter.takeKey(yield* keyWith({ requestsPerMinute: 1 }, name), 0)).settle(undefined)
      }
      yield* putInForce(registry, yield* keys("one"))
      yield* putInForce(registry, yield* keys("one", "two"))
      refused(limiter.takeKey(yield* keyWith({ requestsPerMinute: 1 }, "one"), 0))
      used(limiter.takeKey(yield* keyWith({ requestsPerMinute: 1 }, "two"), 0))
      assert.deepStrictEqual(capacity.made, ["key one", "key two", "key two"])
    }).pipe(Effect.provide(layerOver(capacity.layer)))
  })

  it("never has more at work, or more requests in a minute, than it may, whatever it does", () =>
    forAll(
      fc.record({
        concurrent: fc.integer({ min: 1, max: 4 }),
        requestsPerMinute: fc.integer({ min: 1, max: 30 }),
        steps: fc.array(
          fc.record({ pause: fc.nat({ max: 3000 }), takes: fc.nat({ max: 3 }), settles: fc.nat({ max: 3 }) }),
          { maxLength: 60, size: "max" }
        )
      }),
      layer,
      Effect.fnUntraced(function* ({ concurrent, requestsPerMinute, steps }) {
        const limiter = yield* RateLimiter
        const { now } = yield* MonotonicClock
        const key = yield* keyWith({ concurrent, requestsPerMinute })
        const atWork: Array<KeyUse> = []
        const granted: Array<number> = []
        for (const { pause, settles, takes } of steps) {
          yield* TestClock.adjust(pause)
          for (const use of atWork.splice(0, settles)) use.settle(undefined)
          for (let i = 0; i < takes; i++) {
            const taken = limiter.takeKey(key, 0)
            if (Result.isFailure(taken)) {
              assert.isAtLeast(taken.failure.retryAfter ?? 0, 1)
              assert.isAtMost(taken.failure.retryAfter ?? 0, 60)
              continue
            }
            atWork.push(taken.success)
            granted.push(now())
          }
          assert.isAtMost(atWork.length, concurrent)
          for (const from of granted) {
            const since = granted.filter((at) => at >= from)
            assert.isAtMost(since.length, requestsPerMinute + ((now() - from) * requestsPerMinute) / 60_000 + 1e-5)
          }
        }
        for (const use of atWork) use.settle(undefined)
        yield* TestClock.adjust("1 minute")
        for (let i = 0; i < Math.min(concurrent, requestsPerMinute); i++) used(limiter.takeKey(key, 0))
      }),
      50
    ))
})
