import { assert, describe, it } from "@effect/vitest"
import { Random } from "effect"
import * as fc from "fast-check"
import { hashText } from "../../src/scheduler/Hashing.ts"
import { makeStrategy } from "../../src/scheduler/Strategies.ts"
import { holdsFor } from "../Property.ts"
import { type FleetLike, membersOf, nameOf, withFleet } from "./Fleet.ts"

const fleetOf = (names: ReadonlyArray<string>, weights: ReadonlyArray<number> = []): FleetLike => ({
  backends: names.map((name, index) => ({ name, weight: weights[index] ?? 1 })),
  pool: { strategy: "consistent_hash" }
})

const letters = (count: number): ReadonlyArray<string> =>
  Array.from({ length: count }, (_, index) => `backend-${index}`)

/** Which backend each of some keys belongs to, on a gateway of its own. */
const owners = (
  names: ReadonlyArray<string>,
  keys: number,
  weights: ReadonlyArray<number> = []
): ReadonlyArray<string> => {
  const members = membersOf(fleetOf(names, weights))
  const strategy = makeStrategy("consistent_hash")
  return Array.from({ length: keys }, (_, key) => {
    const choice = { now: 0, usable: () => true, random: () => 0, hashKey: hashText(`key ${key}`), prompt: undefined }
    return strategy.choose(members, choice)?.backend.name ?? ""
  })
}

const keysOf = (found: ReadonlyArray<string>, name: string): number => found.filter((owner) => owner === name).length

describe("consistent_hash", () => {
  it("gives a key the same backend on every gateway, in whatever order the backends are configured", () => {
    const names = letters(9)
    assert.deepStrictEqual(owners(names, 500), owners(names.toReversed(), 500))
  })

  it("moves only the keys of a backend that goes, and none between those that stay", () => {
    const scenes = fc.record({ count: fc.integer({ min: 2, max: 12 }), gone: fc.nat() })
    holdsFor(
      scenes,
      ({ count, gone }) => {
        const names = letters(count)
        const left = names.filter((_, index) => index !== gone % count)
        const [before, after] = [owners(names, 200), owners(left, 200)]
        const moved = before.filter((owner, key) => left.includes(owner) && after[key] !== owner)
        assert.isEmpty(moved)
      },
      50
    )
  })

  it("spreads keys evenly, and by weight", () => {
    const even = owners(letters(8), 8000)
    for (const name of letters(8)) assert.approximately(keysOf(even, name), 1000, 120)
    const weighted = owners(["a", "b", "c"], 7000, [1, 2, 4])
    assert.approximately(keysOf(weighted, "a"), 1000, 120)
    assert.approximately(keysOf(weighted, "b"), 2000, 160)
  })

  it("moves keys only to a backend whose weight grows", () => {
    const [before, after] = [owners(["a", "b", "c"], 2000), owners(["a", "b", "c"], 2000, [1, 3, 1])]
    const gainers = after.filter((owner, key) => before[key] !== owner)
    assert.isNotEmpty(gainers)
    assert.deepStrictEqual([...new Set(gainers)], ["b"])
  })

  it.effect("passes a backend over that has more than 1.25 of its fair share, always for the same next ones", () =>
    withFleet(fleetOf(["a", "b", "c", "d"]), (fleet) => {
      for (let n = 1; n <= 200; n++) {
        fleet.lease({ hashKey: 42 })
        for (const name of "abcd") assert.isAtMost(fleet.state(name).inflight, Math.ceil((1.25 * n) / 4))
      }
      // So a hot key has three of four nearly full, and the last in its order gets what is left over.
      const counts = ["a", "b", "c", "d"].map((name) => fleet.state(name).inflight).toSorted((a, b) => b - a)
      for (const count of counts.slice(0, 3)) assert.isAtLeast(count, 61)
    })
  )

  it.effect("comes back to the owner of a key when that has room again", () =>
    withFleet(fleetOf(["a", "b", "c", "d"]), (fleet) => {
      const owner = fleet.choice({ hashKey: 42 })
      fleet.with(owner, { inflight: 20 })
      assert.notStrictEqual(fleet.choice({ hashKey: 42 }), owner)
      fleet.with(owner, { inflight: 0 })
      assert.strictEqual(fleet.choice({ hashKey: 42 }), owner)
    })
  )

  it.effect("takes the owner all the same where all others are out", () =>
    withFleet(fleetOf(["a", "b"]), (fleet) => {
      fleet.with("a", { inflight: 50 })
      fleet.found("b", "unhealthy")
      assert.strictEqual(fleet.choice({ hashKey: 1 }), "a")
    })
  )

  it.effect("gives requests that have nothing to go by to any backend", () =>
    withFleet(fleetOf(["a", "b", "c"]), (fleet) => {
      const chosen = Array.from({ length: 300 }, () => nameOf(fleet.lease())).join("")
      for (const name of "abc") assert.isAbove(chosen.split(name).length - 1, 70)
    }).pipe(Random.withSeed(1))
  )
})
