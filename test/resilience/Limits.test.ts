/** The limits of a key, whatever they are: all of them are taken by a request, or none. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { ApiKey } from "../../src/domain/ApiKey.ts"
import { limitsOf } from "../../src/resilience/Limits.ts"
import { configOf, must } from "../registry/Fixtures.ts"
import { fc } from "../registry/Properties.ts"

const keyOf = (limits: object) =>
  Effect.map(configOf({ keys: [{ name: "k", key: "sk-k", limits }] }), ({ keys }): ApiKey => must(keys[0]))

describe("the limits of a key", () => {
  it.effect("a request takes all of them, or none and is told of the first that it lacks", () =>
    Effect.gen(function* () {
      const every = yield* keyOf({ concurrent: 2, requestsPerMinute: 3, tokensPerMinute: 100 })
      const requests = fc.array(fc.record({ tokens: fc.integer({ min: 1, max: 80 }), ends: fc.boolean() }), {
        maxLength: 20
      })
      fc.assert(
        fc.property(requests, (script) => {
          const atWork = { count: 0 }
          const limits = limitsOf(every, atWork, 0)
          const told = () => limits.map((limit) => limit.remaining(0)?.remaining)
          for (const { ends, tokens } of script) {
            const before = { told: told(), atWork: atWork.count }
            const lacking = limits.find((limit) => !limit.has(tokens, 0))
            if (lacking !== undefined) {
              assert.deepStrictEqual({ told: told(), atWork: atWork.count }, before, "to look takes nothing")
              assert.match(lacking.refusal(tokens, 0)[0], /^This key may/)
              continue
            }
            for (const limit of limits) limit.take(tokens, 0)
            assert.strictEqual(atWork.count, before.atWork + 1)
            assert.isAtMost(atWork.count, 2)
            if (ends) for (const limit of limits) limit.settle(tokens, 0, 0)
            const [, tokensLeft = 0, requestsLeft = 0] = told()
            assert.strictEqual(tokensLeft, (before.told[1] ?? 0) - (ends ? 0 : tokens))
            assert.strictEqual(requestsLeft, (before.told[2] ?? 0) - 1)
          }
        })
      )
    })
  )
})
