import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { bindingsOf } from "../../../src/http/server/Bindings.ts"
import { configOf } from "../../registry/Fixtures.ts"

const placed = (input: unknown) => Effect.map(configOf(input), (config) => [...bindingsOf(config).values()])

describe("the addresses of a configuration", () => {
  it.effect("are its listeners; the first has the admin surface where that has no port of its own", () =>
    Effect.gen(function* () {
      const listeners = [
        { name: "a", port: 1 },
        { name: "b", port: 2 }
      ]
      const together = yield* placed({ listeners })
      assert.deepStrictEqual(
        together.map(({ listener, path, serves }) => [listener.name, path, serves]),
        [
          ["a", "listeners[0]", "everything"],
          ["b", "listeners[1]", "clients"]
        ]
      )
      const apart = yield* placed({ listeners, admin: { port: 3 } })
      assert.deepStrictEqual(
        apart.map(({ listener, path, serves }) => [listener.port, path, serves]),
        [
          [1, "listeners[0]", "clients"],
          [2, "listeners[1]", "clients"],
          [3, "admin", "admin"]
        ]
      )
    })
  )

  const keyOf = (listener: object) =>
    Effect.map(placed({ listeners: [{ name: "a", host: "127.0.0.1", port: 1, ...listener }] }), ([place]) => place?.key)
  const tls = { cert: "c", key: "k" }

  for (const [what, change] of [
    ["its name", { name: "b" }],
    ["who may ask", { auth: false }],
    ["its routes", { routes: [{ path: "/x", pool: "p" }] }],
    ["how much", { rateLimit: {}, connectTimeout: "1s", maxConnections: 5 }]
  ] as const) {
    it.effect(`stay open when ${what} changes`, () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* keyOf(change), yield* keyOf({}))
      })
    )
  }

  for (const [what, change] of [
    ["host", { host: "0.0.0.0" }],
    ["port", { port: 2 }],
    ["encryption", { tls }]
  ] as const) {
    it.effect(`are opened anew for another ${what}`, () =>
      Effect.gen(function* () {
        assert.notStrictEqual(yield* keyOf(change), yield* keyOf({}))
      })
    )
  }

  it.effect("stay open when their certificates move to other files, and any free port stays with its name", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* keyOf({ tls }), yield* keyOf({ tls: { cert: "c2", key: "k2" } }))
      assert.notStrictEqual(yield* keyOf({ port: 0 }), yield* keyOf({ port: 0, name: "b" }))
    })
  )
})
