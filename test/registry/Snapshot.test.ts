import { createHash } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { digestOfSecret } from "../../src/domain/ApiKey.ts"
import { toMember } from "../../src/registry/Snapshot.ts"
import { backendOf, lone, memberOf, poolOf, snapshotOf } from "./Fixtures.ts"

const url = "http://127.0.0.1:9001"

describe("a member of a pool", () => {
  it.effect("has its own weight and priority there, else the backend's weight and the first tier", () =>
    Effect.gen(function* () {
      const snapshot = yield* snapshotOf({
        backends: [
          { name: "a", url, weight: 3, maxConcurrency: 5 },
          { name: "b", url }
        ],
        pools: [
          { name: "p", backends: ["a", { name: "b", weight: 4, priority: 2 }] },
          { name: "q", backends: [{ name: "a", priority: 1 }] }
        ]
      })
      const told = (pool: string, name: string) => {
        const { backend, priority, weight } = memberOf(snapshot, pool, name)
        return { capacity: backend.capacity, priority, weight }
      }
      assert.deepStrictEqual(told("p", "a"), { capacity: 5, priority: 0, weight: 3 })
      assert.deepStrictEqual(told("p", "b"), { capacity: Number.POSITIVE_INFINITY, priority: 2, weight: 4 })
      assert.deepStrictEqual(told("q", "a"), { capacity: 5, priority: 1, weight: 3 })
    })
  )

  it.effect("is one and the same backend in every pool that holds it", () =>
    Effect.gen(function* () {
      const snapshot = yield* snapshotOf({
        backends: [{ name: "a", url }],
        pools: [
          { name: "p", backends: ["a"] },
          { name: "q", backends: ["a"] }
        ]
      })
      assert.strictEqual(memberOf(snapshot, "p", "a").backend.state, memberOf(snapshot, "q", "a").backend.state)
      assert.strictEqual(memberOf(snapshot, "p", "a").backend, backendOf(snapshot, "a"))
    })
  )

  it.effect("a name of no backend is no member", () =>
    Effect.gen(function* () {
      const { pool } = yield* lone()
      assert.deepStrictEqual(toMember("nobody", pool.config, new Map()), [])
    })
  )
})

describe("time-outs", () => {
  it.effect("are the defaults where nothing is configured; an answer that does not stream may take its time", () =>
    Effect.gen(function* () {
      const { member } = yield* lone()
      assert.deepStrictEqual(member.timeouts, {
        connect: 10_000,
        firstByte: 120_000,
        firstByteOfWhole: Number.POSITIVE_INFINITY,
        idle: 60_000,
        request: 300_000
      })
    })
  )

  it.effect("are taken from the backend, else from the pool's client, each for itself", () =>
    Effect.gen(function* () {
      const { member } = yield* lone(
        { timeouts: { connect: "1s", request: "7s" } },
        { client: { timeouts: { connect: "2s", idle: "3s" } } }
      )
      assert.deepInclude(member.timeouts, { connect: 1000, idle: 3000, request: 7000, firstByte: 120_000 })
    })
  )

  for (const [where, backend, pool] of [
    ["the backend", { timeouts: { firstByte: "4s" } }, {}],
    ["the pool", {}, { client: { timeouts: { firstByte: "4s" } } }]
  ] as const) {
    it.effect(`time-outs to the first byte also bound the head of a whole answer where ${where} names them`, () =>
      Effect.gen(function* () {
        const { member } = yield* lone(backend, pool)
        assert.deepInclude(member.timeouts, { firstByte: 4000, firstByteOfWhole: 4000 })
      })
    )
  }
})

describe("probing", () => {
  it.effect("follows the defaults of the configuration, and what the backend has of its own, setting by setting", () =>
    Effect.gen(function* () {
      const snapshot = yield* snapshotOf({
        health: { interval: "7s", timeout: "1s", unhealthyAfter: 5, healthyAfter: 2 },
        backends: [
          { name: "a", url },
          { name: "b", url, health: { interval: "500ms", unhealthyAfter: 1 } }
        ]
      })
      assert.deepStrictEqual(backendOf(snapshot, "a").probing, {
        interval: 7000,
        timeout: 1000,
        unhealthyAfter: 5,
        healthyAfter: 2
      })
      assert.deepStrictEqual(backendOf(snapshot, "b").probing, {
        interval: 500,
        timeout: 1000,
        unhealthyAfter: 1,
        healthyAfter: 2
      })
    })
  )

  it.effect("connects as the first pool that holds the backend does, else as usual", () =>
    Effect.gen(function* () {
      const snapshot = yield* snapshotOf({
        backends: [
          { name: "a", url },
          { name: "b", url }
        ],
        pools: [
          { name: "p", backends: [{ name: "a" }], client: { userAgent: "first/1" } },
          { name: "q", backends: ["a"], client: { userAgent: "second/1" } }
        ]
      })
      assert.strictEqual(backendOf(snapshot, "a").client, poolOf(snapshot, "p").config.client)
      assert.isUndefined(backendOf(snapshot, "b").client.userAgent)
    })
  )
})

describe("models", () => {
  it.effect("configured models are a closed list; without one, discovery decides", () =>
    Effect.gen(function* () {
      const { entry } = yield* lone({ models: ["m", "n"] })
      assert.deepStrictEqual([...(entry.models ?? [])], ["m", "n"])
      assert.isUndefined((yield* lone()).entry.models)
      assert.strictEqual((yield* lone({ models: [] })).entry.models?.size, 0)
    })
  )
})

describe("keys", () => {
  const sha256 = (text: string) => createHash("sha256").update(text).digest("hex")

  it.effect("are found by the digest of what a client sends, however they were written down", () =>
    Effect.gen(function* () {
      const { keys } = yield* snapshotOf({
        keys: [
          { name: "plain", key: "sk-clear-ü" },
          { name: "hashed", sha256: sha256("sk-hashed").toUpperCase() }
        ]
      })
      assert.strictEqual(keys.get(digestOfSecret("sk-clear-ü"))?.name, "plain")
      assert.strictEqual(keys.get(digestOfSecret("sk-hashed"))?.name, "hashed")
      assert.isUndefined(keys.get(digestOfSecret("sk-other")))
      assert.strictEqual(digestOfSecret("sk-clear-ü"), sha256("sk-clear-ü"))
    })
  )

  it.effect("are not in the table in a form that could be sent", () =>
    Effect.gen(function* () {
      const { keys } = yield* snapshotOf({ keys: [{ name: "plain", key: "sk-clear" }] })
      assert.notInclude([...keys.keys()].join(), "sk-clear")
    })
  )
})

describe("names", () => {
  it.effect("find listeners, backends and pools; nothing configured is nothing found", () =>
    Effect.gen(function* () {
      const snapshot = yield* snapshotOf({
        listeners: [
          { name: "x", port: 1 },
          { name: "y", port: 2 }
        ],
        backends: [{ name: "a", url }]
      })
      assert.strictEqual(snapshot.listeners.get("y")?.port, 2)
      assert.strictEqual(snapshot.backends.get("a")?.config.url, url)
      assert.isUndefined(snapshot.backends.get("constructor"))
      assert.strictEqual(snapshot.pools.size, 0)
    })
  )
})
