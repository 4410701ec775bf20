import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { StrategyName } from "../../src/domain/Pool.ts"
import type { BackendState, Member } from "../../src/registry/Registry.ts"
import { costNow } from "../../src/scheduler/SlowStart.ts"
import { makeStrategy } from "../../src/scheduler/Strategies.ts"
import { holdsFor } from "../Property.ts"
import { type FleetLike, membersOf, named, nameOf, seededRandom, withFleet } from "./Fleet.ts"

const weighted = (strategy: string, ...weights: ReadonlyArray<number>): FleetLike => ({
  backends: weights.map((weight, index) => ({ name: "abcdefgh".charAt(index), weight })),
  pool: { strategy }
})

const all = StrategyName.literals

/** A request that nothing is known of. */
const blind = { now: 0, random: () => 0.5, hashKey: undefined, prompt: undefined }

describe("round_robin", () => {
  it.effect("takes one backend after the other, whatever their weights", () =>
    withFleet(weighted("round_robin", 5, 1, 1), (fleet) => {
      assert.strictEqual(fleet.choices(7), "abcabca")
    })
  )

  it.effect("skips backends that cannot take it, without losing its place", () =>
    withFleet(weighted("round_robin", 1, 1, 1), (fleet) => {
      assert.strictEqual(fleet.choice(), "a")
      fleet.found("b", "unhealthy")
      assert.strictEqual(fleet.choices(4), "caca")
      fleet.found("b", "healthy")
      assert.strictEqual(fleet.choices(3), "bca")
    })
  )

  it.effect("takes turns for each model by itself: other models' requests in between change nothing", () =>
    withFleet(
      {
        backends: [
          { name: "a", models: ["x", "y"] },
          { name: "b", models: ["x", "y"] },
          { name: "c", models: ["y"] }
        ],
        pool: { strategy: "round_robin" }
      },
      (fleet) => {
        let xs = ""
        let ys = ""
        for (let i = 0; i < 6; i++) {
          xs += fleet.choice({ model: "x" })
          ys += fleet.choice({ model: "y" })
        }
        assert.strictEqual(xs, "ababab")
        assert.strictEqual(ys, "abcabc")
      }
    )
  )
})

describe("weighted_round_robin", () => {
  it.effect("is smooth: weights 5, 1, 1 give a a b a c a a, over and over", () =>
    withFleet(weighted("weighted_round_robin", 5, 1, 1), (fleet) => {
      assert.strictEqual(fleet.choices(14), "aabacaaaabacaa")
    })
  )

  it.effect("gives a backend that comes back its share, and no more to make up for its absence", () =>
    withFleet(weighted("weighted_round_robin", 1, 1), (fleet) => {
      fleet.found("b", "unhealthy")
      assert.strictEqual(fleet.choices(20), "a".repeat(20))
      fleet.found("b", "healthy")
      const after = fleet.choices(10)
      assert.strictEqual(after.replaceAll("a", "").length, 5)
      assert.notInclude(after, "bbb")
    })
  )

  it.effect.each([
    { weights: [5, 1, 1] },
    { weights: [1, 2, 4] },
    { weights: [3, 3, 3, 3] },
    { weights: [100, 1] },
    { weights: [1] }
  ])("gives each backend exactly its weight in every round of $weights", ({ weights }) =>
    withFleet(weighted("weighted_round_robin", ...weights), (fleet) => {
      const round = weights.reduce((sum, weight) => sum + weight, 0)
      for (let i = 0; i < 3; i++) {
        const chosen = fleet.choices(round)
        for (const [index, weight] of weights.entries()) {
          assert.strictEqual(chosen.split("abcdefgh".charAt(index)).length - 1, weight)
        }
      }
    })
  )
})

describe("turns by weight in a large pool", () => {
  const large = 200
  const members = membersOf({
    backends: Array.from({ length: large }, (_, index) => ({ name: `n${index}`, weight: 1 + (index % 3) })),
    pool: { strategy: "weighted_round_robin" }
  })

  it("give each exactly its weight in every round", () => {
    const chooser = makeStrategy("weighted_round_robin")
    const round = members.reduce((sum, { weight }) => sum + weight, 0)
    const counts = new Map<Member | undefined, number>()
    for (let n = 0; n < 2 * round; n++) {
      const chosen = chooser.choose(members, { ...blind, usable: () => true })
      counts.set(chosen, (counts.get(chosen) ?? 0) + 1)
    }
    assert.deepStrictEqual(
      members.map((member) => counts.get(member)),
      members.map(({ weight }) => 2 * weight)
    )
  })

  it("include a backend that is there again within a few choices", () => {
    const chooser = makeStrategy("weighted_round_robin")
    const few = new Set(members.slice(0, 3))
    for (let n = 0; n < 100; n++) chooser.choose(members, { ...blind, usable: (member) => few.has(member) })
    const chosen = Array.from({ length: 8 }, () => chooser.choose(members, { ...blind, usable: () => true }))
    assert.isTrue(chosen.some((member) => member !== undefined && !few.has(member)))
  })
})

describe("least_inflight", () => {
  it.effect("takes the backend with the least to do for its weight", () =>
    withFleet(weighted("least_inflight", 1, 2, 4), (fleet) => {
      const taken = Array.from({ length: 14 }, () => nameOf(fleet.lease()))
      const count = (name: string) => taken.filter((each) => each === name).length
      assert.deepStrictEqual([count("a"), count("b"), count("c")], [2, 4, 8])
    })
  )

  it.effect("counts weights on an idle pool too: the strongest is first", () =>
    withFleet(weighted("least_inflight", 1, 4), (fleet) => {
      assert.strictEqual(fleet.choices(5), "bbbbb")
    })
  )

  it.effect("lets equals take turns", () =>
    withFleet(weighted("least_inflight", 1, 1, 1), (fleet) => {
      assert.deepStrictEqual(new Set(fleet.choices(3)), new Set("abc"))
      assert.strictEqual(fleet.choices(300).split("a").length - 1, 100)
    })
  )

  it.effect("lets equals take turns for each model by itself", () =>
    withFleet(
      {
        backends: [
          { name: "a", models: ["x", "y"] },
          { name: "b", models: ["x", "y"] },
          { name: "c", models: ["y"] }
        ]
      },
      (fleet) => {
        const chosen = Array.from({ length: 60 }, () => [fleet.choice({ model: "x" }), fleet.choice({ model: "y" })])
        const count = (index: number, name: string) => chosen.filter((each) => each[index] === name).length
        assert.deepStrictEqual([count(0, "a"), count(0, "b")], [30, 30])
        assert.deepStrictEqual([count(1, "a"), count(1, "b"), count(1, "c")], [20, 20, 20])
      }
    )
  )

  it.effect("breaks a tie by latency, and looks first at those of which it knows none", () =>
    withFleet(weighted("least_inflight", 1, 1, 1), (fleet) => {
      fleet.state("a").latency.record(50, 0)
      fleet.state("b").latency.record(20, 0)
      assert.strictEqual(fleet.choices(3), "ccc")
      fleet.state("c").latency.record(90, 0)
      assert.strictEqual(fleet.choices(3), "bbb")
    })
  )
})

describe("failover", () => {
  it.effect("takes the first in the configured order that can take it", () =>
    withFleet({ ...named("a", "b", "c"), pool: { strategy: "failover" } }, (fleet) => {
      assert.strictEqual(fleet.choices(3), "aaa")
      fleet.found("a", "unhealthy")
      assert.strictEqual(fleet.choices(2), "bb")
      fleet.found("b", "unhealthy")
      assert.strictEqual(fleet.choice(), "c")
      fleet.found("a", "healthy")
      assert.strictEqual(fleet.choice(), "a")
    })
  )
})

describe("weights 1, 2 and 4 under random work", () => {
  it.effect.each(["weighted_round_robin", "least_inflight"])(
    "are the shares that %s gives, within a twentieth",
    (strategy) =>
      withFleet(weighted(strategy, 1, 2, 4), (fleet) => {
        const roll = seededRandom(7)
        const counts = new Map<string, number>()
        const running: Array<ReturnType<typeof fleet.lease>> = []
        const total = 20_000
        for (let i = 0; i < total; i++) {
          if (running.length >= 30 + roll(40)) running.splice(roll(running.length), 1)[0]?.release()
          const lease = fleet.lease()
          running.push(lease)
          counts.set(nameOf(lease), (counts.get(nameOf(lease)) ?? 0) + 1)
          while (running.length > 60) running.splice(roll(running.length), 1)[0]?.release()
        }
        for (const [name, share] of [
          ["a", 1 / 7],
          ["b", 2 / 7],
          ["c", 4 / 7]
        ] as const) {
          assert.approximately((counts.get(name) ?? 0) / total, share, share * 0.05, name)
        }
      })
  )
})

/** Something happens to a backend, or not. */
const shake = (state: BackendState, roll: (sides: number) => number, now: number) => {
  state.inflight = roll(4) === 0 ? roll(100) : state.inflight
  if (roll(3) === 0) state.latency.record(roll(5000), now)
  if (roll(3) === 0) state.outcomes.record(roll(2) === 0, now)
  if (roll(5) === 0) state.reported({ running: roll(50), waiting: roll(9), kvCacheUsage: roll(100) / 99 }, now)
  if (roll(20) === 0) state.recoveredAt = now
  if (roll(20) === 0) state.generation++
}

describe("least_inflight, whatever has happened to the backends", () => {
  const size = 40
  const rounds = fc.array(fc.record({ seed: fc.nat(), usable: fc.uniqueArray(fc.nat({ max: size - 1 })) }), {
    minLength: 1,
    maxLength: 20
  })

  it("takes one that no usable one is better than: less to do for its weight, or as much and quicker", () => {
    holdsFor(rounds, (steps) => {
      const backends = Array.from({ length: size }, (_, index) => ({ name: `n${index}`, weight: 1 + (index % 3) }))
      const members = membersOf({ backends, pool: { strategy: "least_inflight" } })
      const chooser = makeStrategy("least_inflight")
      let now = 0
      for (const { seed, usable } of steps) {
        const roll = seededRandom(seed)
        now += roll(15_000)
        for (const { backend } of members) shake(backend.state, roll, now)
        const canTake = (member: Member) => usable.includes(members.indexOf(member))
        const chosen = chooser.choose(members, { ...blind, now, usable: canTake })
        if (chosen === undefined) {
          assert.isEmpty(usable)
          continue
        }
        const least = costNow(chosen, now)
        for (const other of members.filter(canTake)) {
          assert.isAtMost(least, costNow(other, now))
          if (costNow(other, now) > least) continue
          assert.isAtMost(chosen.backend.state.latency.average, other.backend.state.latency.average)
        }
      }
    })
  })
})

describe("every strategy", () => {
  const cases = fc.record({
    strategy: fc.constantFrom(...all),
    weights: fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 6 }),
    /** Which backends are usable, choice by choice. */
    rounds: fc.array(fc.array(fc.boolean(), { minLength: 6, maxLength: 6 }), { minLength: 1, maxLength: 40 })
  })

  it("chooses a backend whenever one is usable, and never one that is not", () => {
    holdsFor(cases, ({ rounds, strategy, weights }) => {
      const members = membersOf(weighted(strategy, ...weights))
      const chooser = makeStrategy(strategy)
      for (const round of rounds) {
        const usable = (member: Member) => round[members.indexOf(member)] === true
        const chosen = chooser.choose(members, { ...blind, usable })
        if (chosen === undefined) assert.isFalse(members.some(usable))
        else assert.isTrue(usable(chosen))
      }
    })
  })

  it("does so in large pools too, whatever is known of each backend and of the request", () => {
    const size = 150
    const rounds = fc.array(
      fc.record({
        usable: fc.uniqueArray(fc.nat({ max: size - 1 }), { maxLength: 4 }),
        hashKey: fc.option(fc.nat(), { nil: undefined }),
        prompt: fc.option(fc.int32Array({ maxLength: 4 }), { nil: undefined }),
        seed: fc.nat()
      }),
      { minLength: 1, maxLength: 12 }
    )
    holdsFor(
      fc.record({ strategy: fc.constantFrom(...all), rounds }),
      ({ rounds, strategy }) => {
        const weights = Array.from({ length: size }, (_, index) => 1 + (index % 7))
        const members = membersOf({
          backends: weights.map((weight, index) => ({ name: `n${index}`, weight })),
          pool: { strategy }
        })
        const chooser = makeStrategy(strategy)
        let now = 0
        for (const { hashKey, prompt, seed, usable } of rounds) {
          const roll = seededRandom(seed)
          now += roll(30_000)
          for (const { backend } of members) shake(backend.state, roll, now)
          const canTake = (member: Member) => usable.includes(members.indexOf(member))
          const random = () => roll(1000) / 1000
          const chosen = chooser.choose(members, { now, random, hashKey, prompt, usable: canTake })
          if (chosen === undefined) assert.isEmpty(usable)
          else assert.isTrue(canTake(chosen))
        }
      },
      120
    )
  })

  it("chooses one with the lowest score of those that are usable, where it goes by scores", () => {
    const size = 12
    const rounds = fc.array(
      fc.record({
        usable: fc.uniqueArray(fc.nat({ max: size - 1 }), { minLength: 1 }),
        hashKey: fc.nat(),
        prompt: fc.option(fc.int32Array({ maxLength: 4 }), { nil: undefined }),
        seed: fc.nat()
      }),
      { minLength: 1, maxLength: 12 }
    )
    // Of two that are drawn, the lower.
    const byScore = all.filter((strategy) => strategy !== "power_of_two")
    holdsFor(fc.record({ strategy: fc.constantFrom(...byScore), rounds }), ({ rounds, strategy }) => {
      const backends = Array.from({ length: size }, (_, index) => ({ name: `n${index}`, weight: 1 + (index % 7) }))
      const members = membersOf({ backends, pool: { strategy } })
      const chooser = makeStrategy(strategy)
      let now = 0
      for (const { hashKey, prompt, seed, usable } of rounds) {
        const roll = seededRandom(seed)
        now += roll(30_000)
        for (const { backend } of members) shake(backend.state, roll, now)
        const canTake = (member: Member) => usable.includes(members.indexOf(member))
        const choice = { now, random: () => 0.5, hashKey, prompt, usable: canTake }
        const scores = chooser.scoresOf?.(members, choice)
        const chosen = chooser.choose(members, choice)
        const score = chosen === undefined ? undefined : scores?.[members.indexOf(chosen)]
        if (score === undefined) continue
        for (const position of usable) assert.isAtMost(score, scores?.[position] ?? Number.NEGATIVE_INFINITY)
        if (chosen !== undefined) chooser.routed?.(chosen, prompt)
      }
    })
  })

  it("offers no backend where there is none", () => {
    for (const strategy of all) assert.isUndefined(makeStrategy(strategy).choose([], { ...blind, usable: () => true }))
  })
})
