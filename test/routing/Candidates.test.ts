import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { ModelInfo } from "../../src/domain/Health.ts"
import type { BackendState } from "../../src/registry/Registry.ts"
import { type Candidates, CandidateTable, makeCandidates } from "../../src/routing/Candidates.ts"
import { putInForce } from "../registry/Fixtures.ts"
import { configOf, membersOf, named, onFleet, withFleet } from "../scheduler/Fleet.ts"

const namesOf = ({ all }: Candidates) => all.map(({ backend }) => backend.name)

const discover = (state: BackendState, ...ids: ReadonlyArray<string>) =>
  state.setModels(new Map(ids.map((id): [string, ModelInfo] => [id, { id, created: 0, ownedBy: "x" }])), 0)

describe("the backends that may serve a model", () => {
  it.effect("are those configured to, whatever discovery finds, and those not known yet", () =>
    withFleet({ backends: [{ name: "a", models: ["m"] }, { name: "b", models: [] }, { name: "c" }] }, (fleet) => {
      assert.deepStrictEqual(namesOf(fleet.request({ model: "m" }).candidates), ["a", "c"])
      assert.deepStrictEqual(namesOf(fleet.request({ model: "n" }).candidates), ["c"])
      discover(fleet.state("a"), "n")
      discover(fleet.state("c"), "n")
      fleet.registry.modelsChanged()
      assert.deepStrictEqual(namesOf(fleet.request({ model: "n" }).candidates), ["c"])
      assert.deepStrictEqual(namesOf(fleet.request({ model: "m" }).candidates), ["a"])
    })
  )

  it.effect("are all where no model is asked for", () =>
    withFleet(
      {
        backends: [
          { name: "a", models: ["m"] },
          { name: "b", models: [] }
        ]
      },
      (fleet) => {
        assert.deepStrictEqual(namesOf(fleet.request().candidates), ["a", "b"])
      }
    )
  )

  it.effect("are worked out anew when backends have other models, and kept as long as they have not", () =>
    withFleet(named("a", "b"), (fleet) => {
      const before = fleet.request({ model: "m" }).candidates
      assert.strictEqual(fleet.request({ model: "m" }).candidates, before)
      discover(fleet.state("a"), "m")
      discover(fleet.state("b"), "n")
      fleet.registry.modelsChanged()
      assert.deepStrictEqual(namesOf(fleet.request({ model: "m" }).candidates), ["a"])
      discover(fleet.state("b"), "n", "m")
      fleet.registry.modelsChanged()
      assert.deepStrictEqual(namesOf(fleet.request({ model: "m" }).candidates), ["a", "b"])
    })
  )

  it.effect("are worked out anew with a new configuration", () =>
    onFleet({ backends: [{ name: "a", models: ["m"] }] }, (fleet) =>
      Effect.gen(function* () {
        assert.deepStrictEqual(namesOf(fleet.request({ model: "m" }).candidates), ["a"])
        yield* putInForce(
          fleet.registry,
          configOf({
            backends: [
              { name: "a", models: ["n"] },
              { name: "b", models: ["m"] }
            ]
          })
        )
        assert.deepStrictEqual(namesOf(fleet.request({ model: "m" }).candidates), ["b"])
      })
    )
  )
})

describe("tiers", () => {
  it("are in the order of their priority, members in configured order", () => {
    const members = membersOf({
      ...named("a", "b", "c", "d"),
      pool: { backends: [{ name: "a", priority: 2 }, "b", { name: "c", priority: 2 }, { name: "d", priority: 1 }] }
    })
    const { all, tiers } = makeCandidates(members)
    assert.deepStrictEqual(
      tiers.map((tier) => tier.map(({ backend }) => backend.name)),
      [["b"], ["d"], ["a", "c"]]
    )
    assert.deepStrictEqual(all, members)
    assert.deepStrictEqual(makeCandidates([]).tiers, [])
  })
})

describe("names that clients make up", () => {
  const table = new CandidateTable(() => 0)

  it.effect("find no backend where every backend's models are known", () =>
    withFleet({ backends: [{ name: "a", models: ["m"] }] }, (fleet) => {
      for (let i = 0; i < 5000; i++) assert.strictEqual(table.forModel(fleet.pool, `made-up-${i}`).all.length, 0)
      assert.deepStrictEqual(namesOf(table.forModel(fleet.pool, "m")), ["a"])
      for (const name of ["__proto__", "constructor", "toString", "hasOwnProperty"]) {
        assert.strictEqual(table.forModel(fleet.pool, name).all.length, 0)
      }
    })
  )

  it.effect("are not remembered for ever, however many there are", () =>
    withFleet(named("a"), (fleet) => {
      const first = table.forModel(fleet.pool, "made-up-0")
      assert.strictEqual(table.forModel(fleet.pool, "made-up-0"), first)
      for (let i = 1; i < 2000; i++) table.forModel(fleet.pool, `made-up-${i}`)
      assert.notStrictEqual(table.forModel(fleet.pool, "made-up-0"), first)
    })
  )

  it.effect("are not remembered at all where they are longer than any real one: a body is no name", () =>
    withFleet(named("a"), (fleet) => {
      const long = "x".repeat(1000)
      assert.notStrictEqual(table.forModel(fleet.pool, long), table.forModel(fleet.pool, long))
      assert.deepStrictEqual(namesOf(table.forModel(fleet.pool, long)), ["a"])
    })
  )
})
