import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as fc from "fast-check"
import { ApiKey, allows } from "../../src/domain/ApiKey.ts"
import { holdsFor } from "../Property.ts"
import { type Fleet, named, withFleet } from "../scheduler/Fleet.ts"

const keyWith = Schema.decodeUnknownSync(ApiKey)

const routed = (fleet: Fleet, model: string | undefined, key?: object) => {
  const asked = key === undefined ? undefined : keyWith({ name: "k", key: "secret", ...key })
  const { listener, snapshot } = fleet
  return Result.merge(
    fleet.router.route({ snapshot, listener, key: asked, path: "/v1/chat/completions", model, now: fleet.now })
  )
}

const outcome = (...parameters: Parameters<typeof routed>): string => {
  const route = routed(...parameters)
  if (!("candidates" in route)) return `${route.status} ${route.code}`
  return `${route.pool.name}: ${route.candidates.all.map(({ backend }) => backend.name).join(" ")}`
}

const known = {
  backends: [
    { name: "a", models: ["m"] },
    { name: "b", models: ["m", "n"] }
  ]
}

describe("a request", () => {
  it.effect("goes to the listener's pool and those of it that have its model", () =>
    withFleet(known, (fleet) => {
      assert.strictEqual(outcome(fleet, "m"), "default: a b")
      assert.strictEqual(outcome(fleet, "n"), "default: b")
      assert.strictEqual(outcome(fleet, undefined), "default: a b")
    })
  )

  it.effect("a request for a model that no backend has finds none, and is told so without being quoted at length", () =>
    withFleet(known, (fleet) => {
      assert.strictEqual(outcome(fleet, "x"), "404 model_not_found")
      const route = routed(fleet, `${"y".repeat(5000)}\n`)
      assert.isTrue("message" in route && route.message.length < 300 && !route.message.includes("\n"))
      assert.strictEqual("param" in route ? route.param : undefined, "model")
    })
  )

  it.effect("a request for a model that no backend has goes to the backend of last resort where there is one", () =>
    withFleet({ ...known, pool: { backends: ["a"] }, more: { fallbackBackend: "b" } }, (fleet) => {
      assert.strictEqual(outcome(fleet, "n"), "default: b")
      assert.strictEqual(outcome(fleet, "m"), "default: a")
    })
  )

  it.effect("a request on a listener without a pool goes to the backend of last resort, or nowhere", () =>
    withFleet({ ...known, more: { listeners: [{ port: 0 }], fallbackBackend: "b" } }, (fleet) => {
      assert.match(outcome(fleet, "x"), /: b$/)
    })
  )

  it.effect("a request on a listener without anything behind it is not found", () =>
    withFleet({ ...known, more: { listeners: [{ port: 0 }] } }, (fleet) => {
      assert.strictEqual(outcome(fleet, "m"), "404 model_not_found")
      assert.strictEqual(outcome(fleet, undefined), "404 not_found")
    })
  )

  it.effect("a request to an empty pool finds the pool and no backend in it: that is no trouble with the model", () =>
    withFleet(named(), (fleet) => {
      assert.strictEqual(outcome(fleet, "m"), "default: ")
    })
  )
})

describe("a key", () => {
  it.effect("a key that may not use the model or the pool is refused before anything is looked up", () =>
    withFleet(known, (fleet) => {
      assert.strictEqual(outcome(fleet, "m", { models: ["n"] }), "403 model_not_allowed")
      assert.strictEqual(outcome(fleet, "x", { models: ["n"] }), "403 model_not_allowed")
      assert.strictEqual(outcome(fleet, "m", { pools: ["other"] }), "403 pool_not_allowed")
      assert.strictEqual(outcome(fleet, "m", { models: ["m*"], pools: ["def*"] }), "default: a b")
    })
  )

  it.effect("a key that may use some models only gets nowhere without a model, and others do", () =>
    withFleet(known, (fleet) => {
      for (const models of [["n"], ["m", "n"], ["m*"], ["*-x"], []]) {
        assert.strictEqual(outcome(fleet, undefined, { models }), "403 model_not_allowed", models.join())
      }
      for (const models of [["*"], ["n", "*"], ["**"]]) {
        assert.strictEqual(outcome(fleet, undefined, { models }), "default: a b", models.join())
      }
      assert.strictEqual(outcome(fleet, undefined, {}), "default: a b")
    })
  )
})

describe("a model that a backend listed a while ago", () => {
  const list = (fleet: Fleet, name: string, ...models: ReadonlyArray<string>) => {
    fleet.state(name).setModels(new Map(models.map((id) => [id, { id, created: 0, ownedBy: "x" }])), fleet.now)
    fleet.registry.modelsChanged()
  }
  const discovered = {
    backends: [{ name: "a" }, { name: "b" }],
    more: { models: [{ match: "alias", upstreamModel: "m" }] }
  }

  it.effect("a model that its backend lists no more is away for ten minutes; then it does not exist", () =>
    withFleet(discovered, (fleet) => {
      list(fleet, "a", "m", "n")
      list(fleet, "b", "n")
      assert.strictEqual(outcome(fleet, "m"), "default: a")
      list(fleet, "a", "n")
      for (const name of ["m", "alias"]) assert.strictEqual(outcome(fleet, name), "503 no_healthy_backend")
      const route = routed(fleet, "m")
      assert.isTrue("retryAfter" in route && route.retryAfter !== undefined && route.retryAfter >= 1)
      assert.strictEqual(outcome(fleet, "x"), "404 model_not_found")
      fleet.now += 599_999
      assert.strictEqual(outcome(fleet, "m"), "503 no_healthy_backend")
      fleet.now += 1
      assert.strictEqual(outcome(fleet, "m"), "404 model_not_found")
    })
  )

  it.effect("a model that its backend lists again is there as before, and its going is forgotten", () =>
    withFleet(discovered, (fleet) => {
      list(fleet, "a", "m")
      list(fleet, "b", "n")
      list(fleet, "a")
      list(fleet, "a", "m")
      assert.strictEqual(outcome(fleet, "m"), "default: a")
      assert.strictEqual(fleet.state("a").formerModels.size, 0)
    })
  )

  it.effect("does not exist where the backend is disabled since then, or its models are configured", () =>
    withFleet(
      {
        backends: [
          { name: "a", enabled: false },
          { name: "b", models: ["n"] }
        ]
      },
      (fleet) => {
        for (const name of ["a", "b"]) {
          list(fleet, name, "m")
          list(fleet, name, "n")
        }
        assert.strictEqual(outcome(fleet, "m"), "404 model_not_found")
      }
    )
  )

  it.effect("takes bounded memory, however many names come and go", () =>
    withFleet(discovered, (fleet) => {
      for (let round = 0; round < 50; round++) {
        list(fleet, "a", ...Array.from({ length: 100 }, (_, i) => `m-${round}-${i}`))
      }
      assert.isAtMost(fleet.state("a").formerModels.size, 1024)
    })
  )
})

describe("what a pattern allows", () => {
  it.each([
    ["*", "", true],
    ["*", "anything/at-all", true],
    ["gpt-*", "gpt-4o", true],
    ["gpt-*", "gpt-", true],
    ["gpt-*", "xgpt-4", false],
    ["*-mini", "gpt-4o-mini", true],
    ["*-mini", "gpt-4o-mini-2", false],
    ["a*b*c", "abc", true],
    ["a*b*c", "aXbYc", true],
    ["a*b*c", "acb", false],
    ["a*a", "a", false],
    ["ab*ba", "aba", false],
    ["**", "x", true],
    ["m.1", "mx1", false],
    ["[a]", "a", false],
    ["", "", true],
    ["", "x", false]
  ])("%j says of %j: %s", (pattern, name, expected) => {
    assert.strictEqual(allows([pattern], name), expected)
  })

  it("is what its regular expression would match, for any pattern and any name", () => {
    const letters = fc.string({ unit: fc.constantFrom("a", "b", "*", "."), maxLength: 8 })
    const names = fc.string({ unit: fc.constantFrom("a", "b", "."), maxLength: 10 })
    holdsFor(
      fc.tuple(letters, names),
      ([pattern, name]) => {
        const expression = pattern
          .split("*")
          .map((piece) => piece.replaceAll(".", "\\."))
          .join(".*")
        assert.strictEqual(allows([pattern], name), new RegExp(`^(?:${expression})$`).test(name))
      },
      3000
    )
  })

  it("is found out at once, even where a regular expression would take for ever", () => {
    assert.isFalse(allows([`${"a*".repeat(50)}b`], "a".repeat(100_000)))
  })

  it("is nothing where there is no pattern", () => {
    assert.isFalse(allows([], "m"))
  })
})
