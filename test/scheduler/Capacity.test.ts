/** Places at backends: taken and counted in one step, also where others take part between a look and a take. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { inProcess } from "../../src/registry/Capacity.ts"
import { Capacity } from "../../src/registry/Registry.ts"
import { promptBlocks } from "../../src/scheduler/PromptBlocks.ts"
import { backendOf, must } from "../registry/Fixtures.ts"
import { type FleetLike, nameOf, onFleet, withFleet } from "./Fleet.ts"

const fleet: FleetLike = {
  backends: [
    { name: "a", maxConcurrency: 2 },
    { name: "b", maxConcurrency: 2 }
  ],
  pool: { strategy: "failover" }
}

/** Another process takes the last place of a backend in the moment between a look and a take. */
const contested = (lost: (name: string) => boolean) =>
  Layer.succeed(Capacity, {
    ...inProcess,
    tryTake: (backend) => (lost(backend.name) ? undefined : inProcess.tryTake(backend))
  })

describe("a place at a backend", () => {
  it.effect("is counted in the moment that it is taken, and given back once", () =>
    withFleet(fleet, ({ snapshot }) => {
      const backend = backendOf(snapshot, "a")
      const claims = [inProcess.tryTake(backend), inProcess.tryTake(backend)]
      assert.strictEqual(backend.state.inflight, 2)
      assert.isFalse(inProcess.hasRoom(backend))
      assert.isUndefined(inProcess.tryTake(backend))
      for (const claim of claims) claim?.release()
      assert.strictEqual(backend.state.inflight, 0)
    })
  )

  it.effect("that another process took meanwhile is looked for at the next best backend", () =>
    onFleet(
      fleet,
      (fleet) =>
        Effect.sync(() => {
          assert.strictEqual(nameOf(fleet.lease()), "b")
          assert.strictEqual(fleet.state("a").inflight, 0)
        }),
      contested((name) => name === "a")
    )
  )

  it.effect("that is lost at every backend leaves the request without a lease, and nothing counted", () =>
    onFleet(
      fleet,
      (fleet) =>
        Effect.sync(() => {
          const refusal = fleet.refusal()
          assert.strictEqual(refusal.reason, "saturated", "it may be waited for: what others took ends some time")
          assert.deepStrictEqual([fleet.state("a").inflight, fleet.state("b").inflight], [0, 0])
        }),
      contested(() => true)
    )
  )

  it.effect("is learnt from only where the prompt went", () =>
    onFleet(
      { ...fleet, pool: { strategy: "prefix_aware" } },
      (fleet) =>
        Effect.sync(() => {
          const prompt = promptBlocks(Buffer.from("p".repeat(4096)), 0)
          const chosen = Array.from({ length: 6 }, () => fleet.choice({ prompt }))
          assert.deepStrictEqual([...new Set(chosen)], ["b"])
        }),
      contested((name) => name === "a")
    )
  )

  it.effect("is taken at the next backend that is out where the first one is lost as a last resort", () =>
    onFleet(
      fleet,
      (fleet) =>
        Effect.sync(() => {
          fleet.openCircuit("a", fleet.now + 10_000)
          fleet.openCircuit("b", fleet.now + 10_000)
          const lease = must(fleet.scheduler.pickLastResort(fleet.request(), fleet.now))
          assert.deepStrictEqual([nameOf(lease), lease.isLastResort], ["b", true])
        }),
      contested((name) => name === "a")
    )
  )
})
