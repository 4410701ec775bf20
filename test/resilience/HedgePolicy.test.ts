/** When a second attempt may run, by what clients had to wait for, and how many there may be. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Pool } from "../../src/domain/Pool.ts"
import type { PoolEntry } from "../../src/registry/Registry.ts"
import { HedgePolicy } from "../../src/resilience/HedgePolicy.ts"
import { layerTime } from "../Time.ts"

const poolWith = (hedge: object | undefined, name = "p"): PoolEntry => ({
  name,
  members: [],
  config: Schema.decodeUnknownSync(Pool)({ name, backends: [], ...(hedge !== undefined && { hedge }) })
})

const run = <A, E>(test: (policy: HedgePolicy["Service"]) => Effect.Effect<A, E>) =>
  Effect.flatMap(HedgePolicy, test).pipe(Effect.provide(Layer.provide(HedgePolicy.layer, layerTime)))

const observe = (
  { observed }: HedgePolicy["Service"],
  pool: PoolEntry,
  millis: ReadonlyArray<number>,
  stream = false
) => {
  for (const each of millis) observed(pool, stream, each)
}

const hundred = Array.from({ length: 101 }, (_, i) => i * 10)

describe("the time that is waited before a second attempt", () => {
  it.effect.each([
    ["p50", 500],
    ["p75", 750],
    ["p90", 900],
    ["p95", 950],
    ["p99", 990]
  ])("is the percentile %s of what was observed", ([after, expected]) =>
    run((policy) =>
      Effect.sync(() => {
        const pool = poolWith({ after })
        observe(policy, pool, hundred)
        assert.approximately(policy.delay(pool, false) ?? 0, Number(expected), 0.001)
      })
    )
  )

  it.effect("is not known before twenty samples, nor from those of streams or of other pools", () =>
    run((policy) =>
      Effect.sync(() => {
        const pool = poolWith({})
        observe(policy, pool, hundred, true)
        observe(policy, poolWith({}, "q"), hundred)
        observe(policy, pool, hundred.slice(0, 19))
        assert.isUndefined(policy.delay(pool, false))
        assert.isDefined(policy.delay(pool, true))
        observe(policy, pool, [5])
        assert.isDefined(policy.delay(pool, false))
      })
    )
  )

  it.effect("follows what is observed later, at most once a second", () =>
    run((policy) =>
      Effect.gen(function* () {
        const pool = poolWith({ after: "p50" })
        observe(
          policy,
          pool,
          Array.from({ length: 20 }, () => 100)
        )
        assert.strictEqual(policy.delay(pool, false), 100)
        observe(
          policy,
          pool,
          Array.from({ length: 300 }, () => 700)
        )
        assert.strictEqual(policy.delay(pool, false), 100)
        yield* TestClock.adjust("1001 millis")
        assert.strictEqual(policy.delay(pool, false), 700)
      })
    )
  )

  it.effect("is none where the pool does not hedge", () =>
    run((policy) =>
      Effect.sync(() => {
        const pool = poolWith(undefined)
        observe(policy, pool, hundred)
        assert.isUndefined(policy.delay(pool, false))
        assert.isFalse(policy.take(pool))
      })
    )
  )
})

describe("the number of second attempts", () => {
  it.effect.each([
    { maxRatio: 0.05, requests: 100, most: 5 },
    { maxRatio: 0.05, requests: 19, most: 0 },
    { maxRatio: 0.05, requests: 20, most: 1 },
    { maxRatio: 0.5, requests: 7, most: 3 },
    { maxRatio: 1, requests: 4, most: 4 },
    { maxRatio: 0.001, requests: 999, most: 0 }
  ])("is at most $maxRatio of $requests requests: $most", ({ maxRatio, most, requests }) =>
    run((policy) =>
      Effect.sync(() => {
        const pool = poolWith({ maxRatio })
        observe(
          policy,
          pool,
          Array.from({ length: requests }, () => 1)
        )
        let taken = 0
        while (taken <= requests && policy.take(pool)) taken++
        assert.strictEqual(taken, most)
      })
    )
  )

  it.effect("is counted over ten seconds, those that are over give nothing any more", () =>
    run((policy) =>
      Effect.gen(function* () {
        const pool = poolWith({ maxRatio: 0.1 })
        observe(
          policy,
          pool,
          Array.from({ length: 20 }, () => 1)
        )
        assert.isTrue(policy.take(pool))
        yield* TestClock.adjust("11 seconds")
        assert.isFalse(policy.take(pool), "the requests are forgotten")
        observe(
          policy,
          pool,
          Array.from({ length: 10 }, () => 1)
        )
        assert.isTrue(policy.take(pool), "and so is the hedge")
        assert.isFalse(policy.take(pool))
      })
    )
  )
})
