import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { statsRoute } from "../../../src/http/routes/StatsRoute.ts"
import { inProcess } from "../../../src/registry/Capacity.ts"
import { backendOf, occupy } from "../../registry/Fixtures.ts"
import { jsonOf, snapshot } from "../Requests.ts"

const stats = Effect.fnUntraced(function* (now: number) {
  const shown = snapshot({ backends: [{ name: "a", url: "http://10.0.0.1:8000", adapter: "vllm" }] })
  occupy(backendOf(shown, "a"), 2)
  backendOf(shown, "a").state.reported({ running: 3, waiting: 1, kvCacheUsage: 0.5 }, 1000)
  const route = statsRoute({
    admission: { active: () => 0, depth: () => 0 },
    capacity: inProcess,
    clock: { now: () => now }
  })
  return yield* jsonOf(route, "/stats", shown)
})

describe("the statistics", () => {
  it.effect("tell an engine's load, how much of it is not ours, and its age", () =>
    Effect.gen(function* () {
      assert.nestedPropertyVal(yield* stats(4000), "backends[0].load.foreign", 2)
      assert.nestedPropertyVal(yield* stats(4000), "backends[0].load.age_ms", 3000)
      assert.nestedPropertyVal(yield* stats(16_000), "backends[0].load.stale", false)
    })
  )

  it.effect("say so when a load is too old to have a say in anything", () =>
    Effect.gen(function* () {
      assert.nestedPropertyVal(yield* stats(16_001), "backends[0].load.stale", true)
    })
  )
})
