/** One model under several names on a backend: which of them is asked, and which session holds it. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "fast-check"
import { instancesOf, isNumberedInstance } from "../../src/routing/Instances.ts"
import type { Lease } from "../../src/scheduler/Scheduler.ts"
import { holdsFor } from "../Property.ts"
import { putInForce } from "../registry/Fixtures.ts"
import { configOf, type Fleet, type FleetLike, nameOf, onFleet, withFleet } from "../scheduler/Fleet.ts"

describe("the instances of a model", () => {
  it.each([
    { ids: ["m-3", "m", "m-2", "m-10"], model: "m", found: ["m", "m-2", "m-3", "m-10"] },
    { ids: ["m-2", "m-3"], model: "m", found: ["m-2", "m-3"] },
    { ids: ["m-0", "m-1", "m-02", "m2", "m-x", "m-2-2", "mm-2", "n-2"], model: "m", found: [] },
    { ids: ["m", "m-2", "m-2-2"], model: "m-2", found: ["m-2", "m-2-2"] },
    { ids: ["m.x-2", "max-2"], model: "m.x", found: ["m.x-2"] },
    { ids: ["gpt", "gpt-1106", "gpt-20250514"], model: "gpt", found: ["gpt"] },
    { ids: [], model: "m", found: [] }
  ])("$model among $ids are $found", ({ found, ids, model }) => {
    assert.deepStrictEqual(instancesOf(ids, model), found)
  })

  it("are what a listing leaves out, and nothing else: a hidden one is found under the plain name", () => {
    const id = fc
      .tuple(fc.constantFrom("m", "m-2", "n"), fc.constantFrom("", "-1", "-2", "-3", "-12", "-2024", "-07"))
      .map(([base, suffix]) => base + suffix)
    holdsFor(fc.uniqueArray(id, { maxLength: 12 }), (ids) => {
      const all = new Set(ids)
      for (const one of ids) {
        const isFound = ids.some((base) => base !== one && instancesOf(ids, base).includes(one))
        assert.strictEqual(isNumberedInstance(one, all), isFound, `${one} among ${ids.join(" ")}`)
      }
    })
  })
})

const ruled: Partial<FleetLike> = { more: { models: [{ match: "m", instances: true }, { match: "p" }] } }

const one: FleetLike = { backends: [{ name: "a", models: ["m-3", "m", "m-2"] }], ...ruled }

const two: FleetLike = {
  backends: [
    { name: "a", models: ["m", "m-2"] },
    { name: "b", models: ["m", "m-2"] }
  ],
  ...ruled
}

const placeOf = (lease: Lease): string => `${nameOf(lease)}/${lease.instance}`

const lease = (fleet: Fleet, session?: string): Lease =>
  fleet.lease({ model: "m", ...(session !== undefined && { session }) })

const outcome = (fleet: Fleet, session: string): string => {
  const taken = lease(fleet, session)
  taken.release()
  return `${taken.sticky} ${placeOf(taken)}`
}

describe("a request for a model with instances", () => {
  it.effect("gets the first that is free, in the order of their numbers, and frees it again", () =>
    withFleet(one, (fleet) => {
      const leases = [lease(fleet), lease(fleet), lease(fleet)]
      assert.deepStrictEqual(leases.map(placeOf), ["a/m", "a/m-2", "a/m-3"])
      leases[1]?.release()
      leases[1]?.release()
      assert.strictEqual(placeOf(lease(fleet)), "a/m-2")
    })
  )

  it.effect("shares the one with the least to do when none is free", () =>
    withFleet(one, (fleet) => {
      const places = Array.from({ length: 7 }, () => placeOf(lease(fleet)))
      assert.deepStrictEqual(places.toSorted(), ["a/m", "a/m", "a/m", "a/m-2", "a/m-2", "a/m-3", "a/m-3"])
    })
  )

  it.effect("finds a free one on whichever backend has it: four requests, four instances", () =>
    withFleet(two, (fleet) => {
      const places = Array.from({ length: 4 }, () => placeOf(lease(fleet)))
      assert.deepStrictEqual(places.toSorted(), ["a/m", "a/m-2", "b/m", "b/m-2"])
    })
  )

  it.effect.each(["round_robin", "failover", "random", "least_inflight", "power_of_two", "weighted_round_robin"])(
    "finds the free ones with %s too, busy backends or not",
    (strategy) =>
      withFleet({ ...two, pool: { strategy } }, (fleet) => {
        const first = lease(fleet)
        const places = Array.from({ length: 3 }, () => placeOf(lease(fleet)))
        assert.strictEqual(new Set([placeOf(first), ...places]).size, 4)
      })
  )

  it.effect("does not count what other models do there", () =>
    withFleet({ backends: [{ name: "a", models: ["m", "m-2", "p"] }], ...ruled }, (fleet) => {
      const other = fleet.lease({ model: "p" })
      assert.isUndefined(other.instance)
      assert.strictEqual(placeOf(lease(fleet)), "a/m")
    })
  )

  it.effect("is not sent to a free instance of a backend that is full, dead or tried", () =>
    withFleet({ ...two, backends: two.backends.map((backend) => ({ ...backend, maxConcurrency: 1 })) }, (fleet) => {
      const first = lease(fleet)
      const second = lease(fleet)
      assert.deepStrictEqual([placeOf(first), placeOf(second)].toSorted(), ["a/m", "b/m"])
      assert.strictEqual(fleet.refusal({ model: "m" }).reason, "saturated")
      first.release()
      second.release()
      fleet.found("a", "unhealthy")
      assert.strictEqual(placeOf(lease(fleet)), "b/m")
    })
  )

  it.effect("asks by the plain name where it is not known what the backend has", () =>
    withFleet({ backends: [{ name: "a" }], ...ruled }, (fleet) => {
      assert.strictEqual(placeOf(lease(fleet)), "a/m")
      assert.strictEqual(placeOf(lease(fleet)), "a/m")
    })
  )

  it.effect("is not for backends that have none of them, nor for one that is switched off", () =>
    withFleet(
      {
        backends: [
          { name: "a", models: ["n"] },
          { name: "b", models: ["m-2"] },
          { name: "c", models: ["m"], enabled: false }
        ],
        ...ruled
      },
      (fleet) => {
        assert.strictEqual(placeOf(lease(fleet)), "b/m-2")
      }
    )
  )

  it.effect("prefers the instances of a better tier, though they have more to do", () =>
    withFleet({ ...two, pool: { backends: ["a", { name: "b", priority: 1 }] } }, (fleet) => {
      const places = Array.from({ length: 5 }, () => placeOf(lease(fleet)))
      assert.isTrue(
        places.every((place) => place.startsWith("a/")),
        places.join(" ")
      )
    })
  )
})

describe("a session and the instance that has its cache", () => {
  it.effect("belong together, though another one is free before it", () =>
    withFleet(one, (fleet) => {
      const first = lease(fleet)
      assert.strictEqual(outcome(fleet, "s"), "miss a/m-2")
      first.release()
      for (let i = 0; i < 3; i++) assert.strictEqual(outcome(fleet, "s"), "hit a/m-2")
    })
  )

  it.effect("part when another session holds it and another instance is free, and stay together when none is", () =>
    withFleet(one, (fleet) => {
      assert.strictEqual(outcome(fleet, "s"), "miss a/m")
      const others = [lease(fleet), lease(fleet), lease(fleet)]
      assert.deepStrictEqual(others.map(placeOf), ["a/m-2", "a/m-3", "a/m"])
      others[1]?.release()
      assert.strictEqual(outcome(fleet, "s"), "moved a/m-3")
      assert.strictEqual(placeOf(lease(fleet)), "a/m-3")
      assert.strictEqual(outcome(fleet, "s"), "hit a/m-3")
    })
  )

  it.effect("part for a free one of the same tier only: a session is no reason to leave a better tier", () =>
    withFleet(
      {
        backends: [
          { name: "a", models: ["m"] },
          { name: "b", models: ["m"] }
        ],
        pool: { backends: ["a", { name: "b", priority: 1 }] },
        ...ruled
      },
      (fleet) => {
        assert.strictEqual(outcome(fleet, "s"), "miss a/m")
        lease(fleet)
        assert.strictEqual(outcome(fleet, "s"), "hit a/m")
      }
    )
  )

  it.effect("part for good when a newer session came: only the newest holds it", () =>
    withFleet({ ...one, backends: [{ name: "a", models: ["m"] }] }, (fleet) => {
      assert.strictEqual(outcome(fleet, "s"), "miss a/m")
      assert.strictEqual(outcome(fleet, "t"), "miss a/m")
      assert.strictEqual(outcome(fleet, "t"), "hit a/m")
      assert.strictEqual(outcome(fleet, "s"), "miss a/m", "what s had there is gone")
      assert.strictEqual(outcome(fleet, "t"), "miss a/m")
    })
  )

  it.effect("stay together while there is another one for the next session: no cache is lost while one is empty", () =>
    withFleet(one, (fleet) => {
      const people = ["s", "t", "u"]
      assert.deepStrictEqual(
        people.map((who) => outcome(fleet, who)),
        ["miss a/m", "miss a/m-2", "miss a/m-3"]
      )
      for (let round = 0; round < 3; round++) {
        fleet.now += 10
        assert.deepStrictEqual(
          people.map((who) => outcome(fleet, who)),
          ["hit a/m", "hit a/m-2", "hit a/m-3"]
        )
      }
      fleet.now += 10
      assert.strictEqual(outcome(fleet, "s"), "hit a/m")
      fleet.now += 10
      assert.strictEqual(outcome(fleet, "v"), "miss a/m-2", "t was away for the longest")
      assert.strictEqual(outcome(fleet, "t"), "miss a/m-3", "and u then")
      assert.strictEqual(outcome(fleet, "s"), "hit a/m")
    })
  )

  it.effect("leave what was forgotten to the next, and a request without a session takes none before it must", () =>
    withFleet({ ...one, pool: { sticky: { ttl: "1s" } } }, (fleet) => {
      assert.strictEqual(outcome(fleet, "s"), "miss a/m")
      const nobody = lease(fleet)
      assert.strictEqual(placeOf(nobody), "a/m-2")
      nobody.release()
      fleet.now += 1000
      assert.strictEqual(outcome(fleet, "t"), "miss a/m")
    })
  )

  it.effect("part when the instance is gone, and the session gets another", () =>
    withFleet({ backends: [{ name: "a" }], ...ruled }, (fleet) => {
      const has = (...ids: ReadonlyArray<string>) => {
        fleet.state("a").setModels(new Map(ids.map((id) => [id, { id, created: 0, ownedBy: "x" }])), 0)
        fleet.registry.modelsChanged()
      }
      has("m-2")
      assert.strictEqual(outcome(fleet, "s"), "miss a/m-2")
      has("m-3")
      assert.strictEqual(outcome(fleet, "s"), "moved a/m-3")
    })
  )
})

describe("a session that had an instance, or had none", () => {
  it.effect("goes on well when the rule that made the difference is another one", () =>
    onFleet(one, (fleet) =>
      Effect.gen(function* () {
        lease(fleet)
        assert.strictEqual(outcome(fleet, "s"), "miss a/m-2")
        yield* putInForce(fleet.registry, configOf({ ...one, more: {} }))
        assert.strictEqual(outcome(fleet, "s"), "moved a/undefined")
        yield* putInForce(fleet.registry, configOf(one))
        assert.match(outcome(fleet, "s"), /^moved a\/m/)
      })
    )
  )
})

describe("a member with a single slot", () => {
  it.effect("is held by the newest session alone", () =>
    withFleet({ backends: [{ name: "a", maxConcurrency: 1 }] }, (fleet) => {
      const sticky = (session: string) => {
        const taken = fleet.lease({ session })
        taken.release()
        return taken.sticky
      }
      assert.deepStrictEqual(["s", "s", "t", "s", "s"].map(sticky), ["miss", "hit", "miss", "miss", "hit"])
    })
  )
})

describe("counts of instances", () => {
  it.effect("are those of the leases that are held, never negative, and gone when no lease is held", () =>
    withFleet(two, (fleet) => {
      const step = fc.oneof(
        fc.record({ take: fc.constantFrom(undefined, "s", "t", "u") }),
        fc.record({ give: fc.nat(30) })
      )
      holdsFor(fc.array(step, { maxLength: 60 }), (steps) => {
        const held: Array<Lease> = []
        const given: Array<Lease> = []
        for (const each of steps) {
          if ("take" in each) held.push(lease(fleet, each.take))
          else given.push(...held.splice(each.give % (held.length + 1), 1))
          for (const old of given) old.release()
          for (const name of ["a", "b"]) {
            const { inflight, instances } = fleet.state(name)
            const mine = held.filter((one) => nameOf(one) === name)
            assert.strictEqual(inflight, mine.length)
            for (const [instance, count] of instances) {
              assert.isAbove(count, 0)
              assert.strictEqual(count, mine.filter((one) => one.instance === instance).length)
            }
          }
        }
        for (const each of held) each.release()
        assert.deepStrictEqual(
          ["a", "b"].map((name) => [fleet.state(name).inflight, fleet.state(name).instances.size]),
          [
            [0, 0],
            [0, 0]
          ]
        )
      })
    })
  )
})
