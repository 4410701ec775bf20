/** Which pool, which backends and which model: paths before rules, rules before the listener's own pool. */
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as fc from "fast-check"
import { ApiKey } from "../../src/domain/ApiKey.ts"
import { BackendState, LoadColumns } from "../../src/registry/Registry.ts"
import { makeSnapshot } from "../../src/registry/Snapshot.ts"
import type { Route } from "../../src/routing/Router.ts"
import { holdsFor } from "../Property.ts"
import { configOf, type Fleet, type FleetLike, withFleet } from "../scheduler/Fleet.ts"

const keyWith = Schema.decodeUnknownSync(ApiKey)

interface Asked {
  readonly path?: string
  readonly key?: object
}

const routed = (
  { router, snapshot }: Pick<Fleet, "router" | "snapshot">,
  model: string | undefined,
  { key, path = "/v1/chat/completions" }: Asked = {}
) =>
  Result.merge(
    router.route({
      snapshot,
      listener: snapshot.config.listeners[0],
      key: key === undefined ? undefined : keyWith({ name: "k", key: "secret", ...key }),
      path,
      model,
      now: 0
    })
  )

const told = ({ candidates, model, pool }: Route): string =>
  `${pool.name}: ${candidates.all.map(({ backend }) => backend.name).join(" ")} as ${model}`

/** The pool, the backends that may serve the request, and the model that they are asked for; or the refusal. */
const way = (...parameters: Parameters<typeof routed>): string => {
  const route = routed(...parameters)
  return "candidates" in route ? told(route) : `${route.status} ${route.code}`
}

const rulesOf = (...models: ReadonlyArray<object>): FleetLike => ({
  backends: [
    { name: "a", models: ["m", "n"] },
    { name: "b", models: ["m", "big"], weight: 3 },
    { name: "c", models: ["n", "big"] },
    { name: "d", models: ["small"] }
  ],
  more: {
    pools: [
      { name: "default", backends: ["a", { name: "b", weight: 7, priority: 2 }], strategy: "failover" },
      { name: "other", backends: ["c", "d"] }
    ],
    listeners: [{ port: 0, pool: "default", routes: [{ path: "/v1/embeddings", pool: "other" }] }],
    models
  }
})

describe("a path route", () => {
  it.effect("decides before a rule, and a rule before the listener's pool", () =>
    withFleet(rulesOf({ match: "n", backends: ["a"] }, { match: "big", pool: "other" }), (fleet) => {
      assert.strictEqual(way(fleet, "n", { path: "/v1/embeddings" }), "other: c as n")
      assert.strictEqual(way(fleet, "n"), "default: a as n")
      assert.strictEqual(way(fleet, "big"), "other: c as big")
      assert.strictEqual(way(fleet, "m"), "default: a b as m")
      assert.strictEqual(way(fleet, undefined, { path: "/v1/embeddings" }), "other: c d as undefined")
      assert.strictEqual(way(fleet, undefined, { path: "/v1/files" }), "default: a b as undefined")
    })
  )

  it.effect("leaves a rule its other words: the model's other name, and its fallbacks", () =>
    withFleet(
      rulesOf({ match: "emb", upstreamModel: "n", backends: ["a"] }, { match: "gone", fallbacks: ["emb"] }),
      (fleet) => {
        assert.strictEqual(way(fleet, "emb", { path: "/v1/embeddings" }), "other: c as n")
        assert.strictEqual(way(fleet, "gone", { path: "/v1/embeddings" }), "other: c as n")
        assert.strictEqual(way(fleet, "gone"), "default: a as n")
      }
    )
  )
})

describe("a rule", () => {
  it.effect("is the first whose expression matches the whole name", () =>
    withFleet(
      rulesOf({ match: "b", pool: "default" }, { match: "b.*", pool: "other" }, { match: ".*", backends: ["d"] }),
      (fleet) => {
        assert.strictEqual(way(fleet, "big"), "other: c as big")
        assert.strictEqual(way(fleet, "xbig"), "404 model_not_found")
        assert.strictEqual(way(fleet, "small"), "default: d as small")
      }
    )
  )

  it.effect("a rule with backends of its own works with the pool's settings, and with a member's weight there", () =>
    withFleet(rulesOf({ match: "big", backends: ["c", "b"] }), (fleet) => {
      const route = routed(fleet, "big")
      if (!("candidates" in route)) assert.fail(route.message)
      assert.strictEqual(route.pool.config, fleet.pool.config)
      assert.deepStrictEqual(
        route.candidates.tiers.map((tier) => tier.map(({ backend, weight }) => [backend.name, weight])),
        [
          [
            ["c", 1],
            ["b", 7]
          ]
        ]
      )
    })
  )

  it.effect("gives the same answer to the same question: nothing is made anew for each request", () =>
    withFleet({ ...rulesOf({ match: "big", backends: ["c"] }) }, (fleet) => {
      const [one, two] = [routed(fleet, "big"), routed(fleet, "big")]
      if (!("candidates" in one && "candidates" in two)) assert.fail("refused")
      assert.strictEqual(one.candidates, two.candidates)
      assert.strictEqual(one.pool, two.pool)
    })
  )

  it.effect("a rule with backends of its own needs no pool on its listener", () =>
    withFleet(
      {
        backends: [{ name: "a", models: ["m"] }, { name: "b" }],
        more: { listeners: [{ port: 0 }], models: [{ match: "m", backends: ["a"] }, { match: "n" }] }
      },
      (fleet) => {
        assert.strictEqual(way(fleet, "m"), "default: a as m")
        assert.strictEqual(way(fleet, "n"), "404 model_not_found")
      }
    )
  )

  it.effect("a rule of the gpt-oss family takes efforts and jobs off the name", () =>
    withFleet(
      {
        backends: [{ name: "a", models: ["gpt-oss:20b"] }],
        more: { models: [{ match: "gpt-oss.*", gptOss: true }] }
      },
      (fleet) => {
        for (const suffix of ["", "-low", "-medium", "-high", "-apply", "-edit", "-high-edit"]) {
          assert.strictEqual(way(fleet, `gpt-oss:20b${suffix}`), "default: a as gpt-oss:20b")
        }
        assert.strictEqual(way(fleet, "gpt-oss:20b-huge"), "404 model_not_found")
      }
    )
  )
})

describe("fallbacks", () => {
  it.effect("are tried in their order, each by its own rule, when no backend has the model", () =>
    withFleet(
      rulesOf(
        { match: "gone", fallbacks: ["nowhere", "alias", "m"] },
        { match: "alias", pool: "other", upstreamModel: "small" }
      ),
      (fleet) => {
        const route = routed(fleet, "gone")
        if (!("candidates" in route)) assert.fail(route.message)
        assert.strictEqual(told(route), "other: d as small")
        assert.strictEqual(route.rule?.match, "alias")
        assert.deepStrictEqual(route.fallbacks, ["m"], "what is left, for later")
      }
    )
  )

  it.effect("have none of their own: no chain, and no circle", () =>
    withFleet(rulesOf({ match: "x", fallbacks: ["y"] }, { match: "y", fallbacks: ["x", "m"] }), (fleet) => {
      assert.strictEqual(way(fleet, "x"), "404 model_not_found")
      assert.strictEqual(way(fleet, "y"), "default: a b as m")
    })
  )

  it.effect("wait in the order of the rule while a backend has the model", () =>
    withFleet(rulesOf({ match: "m", fallbacks: ["big", "n"] }), (fleet) => {
      const route = routed(fleet, "m")
      if (!("candidates" in route)) assert.fail(route.message)
      assert.deepStrictEqual([told(route), route.fallbacks], ["default: a b as m", ["big", "n"]])
    })
  )

  it.effect("come before the backend of last resort", () =>
    withFleet(
      {
        ...rulesOf({ match: "gone", fallbacks: ["m"] }),
        more: {
          ...rulesOf({ match: "gone", fallbacks: ["m"] }, { match: "lost", fallbacks: ["gone"] }).more,
          fallbackBackend: "d"
        }
      },
      (fleet) => {
        assert.strictEqual(way(fleet, "gone"), "default: a b as m")
        assert.strictEqual(way(fleet, "lost"), "default: d as lost")
        assert.strictEqual(way(fleet, "unheard-of"), "default: d as unheard-of")
      }
    )
  )
})

describe("the backend of last resort", () => {
  const known = { backends: [{ name: "z", models: ["m"] }] }

  it.effect("gets the model by the name that the client used, and is the same one each time", () =>
    withFleet({ ...known, more: { fallbackBackend: "z", listeners: [{ port: 0 }] } }, (fleet) => {
      const [one, two] = [routed(fleet, "x"), routed(fleet, "x")]
      if (!("candidates" in one && "candidates" in two)) assert.fail("refused")
      assert.strictEqual(told(one), "default: z as x")
      assert.strictEqual(one.pool, two.pool)
    })
  )
})

describe("a listener that has no pool", () => {
  it.effect("rules and the last resort work with the one that is called default, if there is one", () =>
    withFleet(
      {
        backends: [{ name: "a", models: ["m"] }, { name: "b" }],
        more: {
          listeners: [{ port: 0 }],
          pools: [
            { name: "default", backends: [{ name: "a", weight: 5 }], strategy: "failover" },
            { name: "other", backends: ["b"] }
          ],
          models: [{ match: "m", backends: ["a", "b"] }],
          fallbackBackend: "a"
        }
      },
      (fleet) => {
        const [ruled, last] = [routed(fleet, "m"), routed(fleet, "x")]
        if (!("candidates" in ruled && "candidates" in last)) assert.fail("refused")
        for (const { candidates, pool } of [ruled, last]) {
          assert.strictEqual(pool.config, fleet.pool.config)
          assert.strictEqual(candidates.all[0]?.weight, 5)
        }
      }
    )
  )
})

describe("a key", () => {
  const fleet = rulesOf(
    { match: "alias", upstreamModel: "big", pool: "other", fallbacks: ["m"] },
    { match: "gone", fallbacks: ["big", "m"] },
    { match: "big", pool: "other" }
  )

  it.effect("is held against the name that the client used, and no other", () =>
    withFleet(fleet, (it) => {
      assert.strictEqual(way(it, "alias", { key: { models: ["alias"] } }), "other: c as big")
      assert.strictEqual(way(it, "alias", { key: { models: ["big"] } }), "403 model_not_allowed")
      assert.strictEqual(way(it, "gone", { key: { models: ["gone"] } }), "other: c as big")
    })
  )

  it.effect("is held against the pool that a path or a rule leads to", () =>
    withFleet(fleet, (it) => {
      const key = { pools: ["default"] }
      assert.strictEqual(way(it, "m", { key }), "default: a b as m")
      assert.strictEqual(way(it, "big", { key }), "403 pool_not_allowed")
      assert.strictEqual(way(it, "n", { key, path: "/v1/embeddings" }), "403 pool_not_allowed")
      assert.strictEqual(way(it, undefined, { key, path: "/v1/embeddings" }), "403 pool_not_allowed")
      assert.strictEqual(
        way(it, undefined, { key: { pools: ["other"] }, path: "/v1/embeddings" }),
        "other: c d as undefined"
      )
    })
  )

  it.effect("is not served by a fallback from a pool that it may not use", () =>
    withFleet(fleet, (it) => {
      assert.strictEqual(way(it, "gone", { key: { pools: ["default"] } }), "default: a b as m")
      assert.strictEqual(way(it, "gone", { key: { pools: ["other"] } }), "403 pool_not_allowed")
    })
  )

  it.effect("does not get around its pools by way of the last resort", () =>
    withFleet({ backends: [{ name: "z" }], more: { listeners: [{ port: 0 }], fallbackBackend: "z" } }, (it) => {
      assert.strictEqual(way(it, "m", { key: { pools: ["else"] } }), "403 pool_not_allowed")
      assert.strictEqual(way(it, undefined, { key: { pools: ["else"] } }), "403 pool_not_allowed")
      assert.strictEqual(way(it, "m", { key: {} }), "default: z as m")
    })
  )
})

describe("routing", () => {
  it.effect("never leads to a backend that is known not to have the model, whatever the rules are", () => {
    const names = ["m", "n", "big", "small", "x", "y"]
    const name = fc.constantFrom(...names)
    const rule = fc.record(
      {
        match: fc.constantFrom(...names, ".*", "[mn]", "b.*|x"),
        upstreamModel: name,
        fallbacks: fc.array(name, { maxLength: 3 }),
        instances: fc.boolean()
      },
      { requiredKeys: ["match"] }
    )
    const place = fc.constantFrom({ pool: "other" }, { backends: ["a", "d"] }, { backends: ["c"] }, {})
    const rules = fc.array(
      fc.tuple(rule, place).map(([one, two]) => ({ ...one, ...two })),
      { maxLength: 4 }
    )
    return withFleet(rulesOf(), (fleet) => {
      holdsFor(fc.tuple(rules, name), ([models, model]) => {
        const columns = new LoadColumns()
        const snapshot = makeSnapshot(
          configOf(rulesOf(...models)),
          1,
          (backend) => new BackendState(backend.name, columns)
        )
        const route = routed({ router: fleet.router, snapshot }, model)
        if (!("candidates" in route)) return assert.strictEqual(route.status, 404)
        assert.isNotEmpty(route.candidates.all)
        for (const { backend } of route.candidates.all)
          assert.isTrue(backend.models?.has(route.model ?? ""), told(route))
      })
    })
  })
})
