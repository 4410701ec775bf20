/** Places at backends: taken and counted in one step, also where others take part between a look and a take. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { inProcess } from "../../src/registry/Capacity.ts"
import { Capacity } from "../../src/registry/Registry.ts"
import { Lease } from "../../src/scheduler/Scheduler.ts"
import { memberOf } from "../registry/Fixtures.ts"
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
    hasRoom: inProcess.hasRoom,
    tryTake: (member) => (lost(member.backend.name) ? undefined : inProcess.tryTake(member))
  })

describe("a place at a backend", () => {
  it.effect("is counted in the moment that it is taken, and given back once", () =>
    withFleet(fleet, ({ snapshot }) => {
      const member = memberOf(snapshot, "default", "a")
      const claims = [inProcess.tryTake(member), inProcess.tryTake(member)]
      assert.strictEqual(member.backend.state.inflight, 2)
      assert.isFalse(inProcess.hasRoom(member))
      assert.isUndefined(inProcess.tryTake(member))
      for (const claim of claims) claim?.release()
      assert.strictEqual(member.backend.state.inflight, 0)
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
          assert.isFalse(fleet.ask() instanceof Lease)
          assert.deepStrictEqual([fleet.state("a").inflight, fleet.state("b").inflight], [0, 0])
        }),
      contested(() => true)
    )
  )
})
