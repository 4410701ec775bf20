import { assert, describe, it } from "@effect/vitest"
import { engineLoad, freshLoad } from "../../src/domain/Health.ts"

describe("an engine's load", () => {
  const load = engineLoad({ running: 3, waiting: 2, kvCacheUsage: 0.5 }, 4, 1000)

  it("is told apart into our work and that of others", () => {
    assert.deepStrictEqual(load, { running: 3, waiting: 2, kvCacheUsage: 0.5, foreign: 1, at: 1000 })
  })

  it("counts for 15 seconds; after that it means neither idle nor full", () => {
    assert.strictEqual(freshLoad(load, 16_000), load)
    assert.isUndefined(freshLoad(load, 16_001))
    assert.isUndefined(freshLoad(undefined, 0))
  })
})
