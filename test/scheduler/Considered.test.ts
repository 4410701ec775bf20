/** What is told of a choice: each candidate with what speaks against it. */
import { assert, describe, it } from "@effect/vitest"
import { type FleetLike, withFleet } from "./Fleet.ts"

const names = ["free", "full", "resting", "open", "tried", "off"]

const fleet: FleetLike = {
  backends: names.map((name) => ({ name, maxConcurrency: 1, enabled: name !== "off" })),
  pool: { strategy: "least_inflight" }
}

describe("each candidate of a choice", () => {
  it.effect("is told with the first reason that excludes it, and with what the strategy compares", () =>
    withFleet(fleet, (fleet) => {
      fleet.with("full", { inflight: 1 })
      fleet.with("resting", { restsFor: 10_000 })
      fleet.openCircuit("open", fleet.now + 10_000)
      const request = fleet.request({ tried: [fleet.state("tried")] })
      const considered = fleet.scheduler.considered(request, fleet.now)
      assert.deepStrictEqual(
        considered.map(({ backend, exclusion, score, tier }) => [backend, exclusion, score, tier]),
        [
          ["free", undefined, 1, 0],
          ["full", "full", 2, 0],
          ["resting", "resting", 1, 0],
          ["open", "circuit_open", 1, 0],
          ["tried", "tried", 1, 0],
          ["off", "disabled", 1, 0]
        ]
      )
      assert.strictEqual(fleet.choice({ tried: [fleet.state("tried")] }), "free")
    })
  )
})
