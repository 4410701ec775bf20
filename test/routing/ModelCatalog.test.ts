import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { ApiKey } from "../../src/domain/ApiKey.ts"
import type { ModelInfo } from "../../src/domain/Health.ts"
import { type Fleet, type FleetLike, named, withFleet } from "../scheduler/Fleet.ts"

const keyWith = Schema.decodeUnknownSync(ApiKey)

const listed = (fleet: Fleet, key?: object) => {
  const asked = key === undefined ? undefined : keyWith({ name: "k", key: "secret", ...key })
  return fleet.router.models(fleet.snapshot, fleet.listener, asked).map(({ id }) => id)
}

const discovered = (fleet: Fleet, name: string, ...models: ReadonlyArray<ModelInfo>) =>
  fleet.state(name).setModels(new Map(models.map((model) => [model.id, model])), 0)

const model = (id: string): ModelInfo => ({ id, created: 7, ownedBy: "lab", maxModelLen: 4096 })

const three: FleetLike = {
  backends: [
    { name: "a", models: ["m", "n"] },
    { name: "b", models: ["m"] },
    { name: "c", models: ["o"] }
  ]
}

describe("the list of models", () => {
  it.effect("has what all backends serve, each once, by name", () =>
    withFleet(three, (fleet) => {
      assert.deepStrictEqual(listed(fleet), ["m", "n", "o"])
    })
  )

  it.effect("does not depend on whether a backend lives just now", () =>
    withFleet(three, (fleet) => {
      fleet.found("c", "unhealthy")
      assert.deepStrictEqual(listed(fleet), ["m", "n", "o"])
    })
  )

  it.effect("tells what discovery found, and nothing of a backend that is not known yet", () =>
    withFleet(named("a", "b"), (fleet) => {
      discovered(fleet, "a", model("m"))
      assert.deepStrictEqual(fleet.router.models(fleet.snapshot, fleet.listener, undefined), [model("m")])
    })
  )

  it.effect("leaves out backends that are switched off, the one of last resort too", () =>
    withFleet(
      {
        backends: [
          { name: "a", models: ["m"] },
          { name: "b", models: ["n"], enabled: false },
          { name: "z", models: ["o"], enabled: false }
        ],
        pool: { backends: ["a", "b"] },
        more: { fallbackBackend: "z" }
      },
      (fleet) => {
        assert.deepStrictEqual(listed(fleet), ["m"])
      }
    )
  )

  it.effect("has the models of the backend of last resort, and not those of other pools", () =>
    withFleet({ ...three, pool: { backends: ["a"] }, more: { fallbackBackend: "c" } }, (fleet) => {
      assert.deepStrictEqual(listed(fleet), ["m", "n", "o"])
    })
  )

  it.effect("has only what a key may use", () =>
    withFleet(three, (fleet) => {
      assert.deepStrictEqual(listed(fleet, { models: ["m", "o*"] }), ["m", "o"])
      assert.deepStrictEqual(listed(fleet, { pools: ["other"] }), [])
      assert.deepStrictEqual(listed(fleet, {}), ["m", "n", "o"])
    })
  )
})

describe("an alias", () => {
  const withRules = (...models: ReadonlyArray<object>): FleetLike => ({ ...three, more: { models } })

  it.effect("is listed as long as a backend has the model that it stands for, with what is known of that", () =>
    withFleet({ backends: [{ name: "a" }], more: { models: [{ match: "gpt-4o", upstreamModel: "m" }] } }, (fleet) => {
      const ask = () => fleet.router.models(fleet.snapshot, fleet.listener, undefined)
      assert.deepStrictEqual(ask(), [])
      discovered(fleet, "a", model("m"))
      fleet.registry.modelsChanged()
      assert.deepStrictEqual(ask(), [{ ...model("m"), id: "gpt-4o" }, model("m")])
    })
  )

  it.effect("an alias of a model that no backend has is not listed", () =>
    withFleet(withRules({ match: "gpt-4o", upstreamModel: "x" }), (fleet) => {
      assert.deepStrictEqual(listed(fleet), ["m", "n", "o"])
    })
  )

  it.effect("may have a dot in it, or an expression, which is no name", () =>
    withFleet(
      withRules(
        { match: "gpt-4.1", upstreamModel: "m" },
        { match: "gpt\\.5", upstreamModel: "m" },
        { match: "claude-.*", upstreamModel: "m" },
        { match: "a|b", upstreamModel: "m" }
      ),
      (fleet) => {
        assert.deepStrictEqual(listed(fleet), ["gpt-4.1", "gpt.5", "m", "n", "o"])
      }
    )
  )

  it.effect("is for the keys that may use its own name, and its pool", () =>
    withFleet(withRules({ match: "alias", upstreamModel: "m" }), (fleet) => {
      assert.deepStrictEqual(listed(fleet, { models: ["alias"] }), ["alias"])
      assert.deepStrictEqual(listed(fleet, { models: ["m"] }), ["m"])
      assert.deepStrictEqual(listed(fleet, { pools: ["x"] }), [])
    })
  )

  it.effect("is a name that has a fallback, too", () =>
    withFleet(withRules({ match: "gone", fallbacks: ["x", "o"] }, { match: "lost", fallbacks: ["x"] }), (fleet) => {
      assert.deepStrictEqual(listed(fleet), ["gone", "m", "n", "o"])
    })
  )

  it.effect("covers a model of the same name that backends have", () =>
    withFleet(withRules({ match: "m", upstreamModel: "x" }), (fleet) => {
      assert.deepStrictEqual(listed(fleet), ["n", "o"])
    })
  )

  it.effect("is no name for an instance: a rule for m-2 does not show it", () =>
    withFleet(
      { backends: [{ name: "a", models: ["m", "m-2"] }], more: { models: [{ match: "m-2", backends: ["a"] }] } },
      (fleet) => {
        assert.deepStrictEqual(listed(fleet), ["m"])
      }
    )
  )
})

describe("numbered instances of a model", () => {
  it.effect.each([
    { models: ["m", "m-2", "m-3", "m-10"], visible: ["m"] },
    { models: ["m-2", "m-3"], visible: ["m-2", "m-3"] },
    { models: ["m", "m-0", "m-1", "m-02"], visible: ["m", "m-0", "m-02", "m-1"] },
    { models: ["llama-3", "llama-3-2"], visible: ["llama-3"] },
    { models: ["gpt-4", "gpt"], visible: ["gpt"] },
    { models: ["gpt", "gpt-1106", "gpt-20250514"], visible: ["gpt", "gpt-1106", "gpt-20250514"] },
    { models: ["m", "m2", "m-x2"], visible: ["m", "m-x2", "m2"] }
  ])("the instances of $models show $visible", ({ models, visible }) =>
    withFleet({ backends: [{ name: "a", models }] }, (fleet) => {
      assert.deepStrictEqual(listed(fleet), visible)
    })
  )

  it.effect("are hidden only where the same backend has the plain name too", () =>
    withFleet(
      {
        backends: [
          { name: "a", models: ["m"] },
          { name: "b", models: ["m-2"] }
        ]
      },
      (fleet) => {
        assert.deepStrictEqual(listed(fleet), ["m", "m-2"])
      }
    )
  )
})

describe("the list of models in memory", () => {
  const resident = (fleet: Fleet) =>
    fleet.router.models(fleet.snapshot, fleet.listener, undefined, "resident").map(({ id }) => id)

  it.effect("has those that some backend says it has in memory, and all of one that does not tell", () =>
    withFleet(three, (fleet) => {
      assert.deepStrictEqual(resident(fleet), ["m", "n", "o"])
      fleet.state("a").reported({ kvCacheUsage: 0, residentModels: ["n"] }, fleet.now)
      assert.deepStrictEqual(resident(fleet), ["m", "n", "o"])
      fleet.state("b").reported({ kvCacheUsage: 0, residentModels: [] }, fleet.now)
      assert.deepStrictEqual(resident(fleet), ["n", "o"])
    })
  )

  it.effect("knows a model by its name without the tag, too", () =>
    withFleet({ backends: [{ name: "a", models: ["m", "m:latest", "n:1b"] }] }, (fleet) => {
      fleet.state("a").reported({ kvCacheUsage: 0, residentModels: ["m:latest"] }, fleet.now)
      assert.deepStrictEqual(resident(fleet), ["m", "m:latest"])
    })
  )
})
