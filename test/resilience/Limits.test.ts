/** The limits of a key, whatever they are: all of them are taken by a request, or none. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import type { ApiKey } from "../../src/domain/ApiKey.ts"
import { inProcess } from "../../src/registry/Capacity.ts"
import { KeyBuckets, type KeyUse } from "../../src/resilience/KeyBuckets.ts"
import { type Limit, limitsOf } from "../../src/resilience/Limits.ts"
import { configOf, must } from "../registry/Fixtures.ts"
import { fc } from "../registry/Properties.ts"

const keyOf = (limits: object) =>
  Effect.map(configOf({ keys: [{ name: "k", key: "sk-k", limits }] }), ({ keys }): ApiKey => must(keys[0]))

/** A limit that many processes share: others may take the last of it in the moment between a look and a take. */
class SharedLimit implements Limit {
  readonly kind = "shared"
  readonly #says: string
  isLost = false
  taken = 0

  constructor(says: string) {
    this.#says = says
  }

  has(): boolean {
    return true
  }

  take(): boolean {
    if (this.isLost) return false
    this.taken++
    return true
  }

  undo(): void {
    this.taken--
  }

  settle(): void {
    this.taken--
  }

  remaining(): undefined {
    return undefined
  }

  refusal(): readonly [string, number] {
    return [this.#says, 7000]
  }
}

/** A key with the limits of its configuration, and shared ones around them; time stands still. */
const sceneOf = (key: ApiKey) => {
  const permits = inProcess.permits("key", key.name)
  const own = limitsOf(key, permits, 0)
  const first = new SharedLimit("the first is lost")
  const last = new SharedLimit("the last is lost")
  const buckets = new KeyBuckets(key, permits, { now: () => 0, settled: () => {} }, [first, ...own, last])
  /** All that is taken of each of them. */
  const counts = () => ({
    atWork: permits.active,
    left: own.map((limit) => limit.remaining(0)?.remaining),
    shared: [first.taken, last.taken]
  })
  return { buckets, counts, first, last }
}

describe("the limits of a key", () => {
  it.effect("a request takes all of them, or none and is told of the one that it lacks", () =>
    Effect.gen(function* () {
      const key = yield* keyOf({ concurrent: 2, requestsPerMinute: 3, tokensPerMinute: 100 })
      const step = fc.record({
        tokens: fc.integer({ min: 1, max: 80 }),
        /** How many of those at work end before it. */
        ends: fc.nat({ max: 2 }),
        used: fc.option(fc.nat({ max: 80 }), { nil: undefined }),
        lost: fc.constantFrom("none", "none", "first", "last")
      })
      fc.assert(
        fc.property(fc.array(step, { maxLength: 20 }), (script) => {
          const { buckets, counts, first, last } = sceneOf(key)
          const atWork: Array<{ readonly use: KeyUse; readonly tokens: number }> = []
          let requests = 3
          let tokensLeft = 100
          const check = () =>
            assert.deepStrictEqual(counts(), {
              atWork: atWork.length,
              left: [undefined, Math.max(0, tokensLeft), requests],
              shared: [atWork.length, atWork.length]
            })
          for (const { ends, lost, tokens, used } of script) {
            for (const { tokens: estimate, use } of atWork.splice(0, ends)) {
              use.settle(used)
              tokensLeft = Math.min(100, tokensLeft + estimate - (used ?? estimate))
            }
            check()
            first.isLost = lost === "first"
            last.isLost = lost === "last"
            const taken = buckets.take(tokens)
            const lacking =
              atWork.length === 2
                ? "2 requests at once"
                : tokensLeft < tokens
                  ? "100 tokens per minute"
                  : requests === 0
                    ? "3 requests per minute"
                    : lost === "none"
                      ? undefined
                      : `the ${lost} is lost`
            if (Result.isFailure(taken)) {
              assert.include(taken.failure.message, must(lacking))
            } else {
              assert.isUndefined(lacking)
              atWork.push({ use: taken.success, tokens })
              tokensLeft -= tokens
              requests--
            }
            check()
          }
        })
      )
    })
  )

  it.effect("one that is lost to others at the last moment gives back those before it, to the last token", () =>
    Effect.gen(function* () {
      const { buckets, counts, last } = sceneOf(
        yield* keyOf({ concurrent: 2, requestsPerMinute: 3, tokensPerMinute: 100 })
      )
      const use = Result.getOrThrow(buckets.take(30))
      const before = counts()
      last.isLost = true
      const refused = Result.getOrThrow(Result.flip(buckets.take(30)))
      assert.deepInclude(refused, { message: "the last is lost", retryAfter: 7 })
      assert.deepStrictEqual(counts(), before)
      last.isLost = false
      Result.getOrThrow(buckets.take(70)).settle(undefined)
      use.settle(30)
      assert.deepStrictEqual(counts(), { atWork: 0, left: [undefined, 0, 1], shared: [0, 0] })
    })
  )
})
