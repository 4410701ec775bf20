/** Which pool a path leads to, asked over HTTP; `x-routed-node` is the rule that was taken. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Simulator } from "../../src/sim/Simulator.ts"
import { ask, post } from "./Ask.ts"
import { serve } from "./Program.ts"

/** A listener's rules, and what becomes of paths there; `default` is the listener's own pool. */
interface Table {
  readonly rules: ReadonlyArray<string>
  readonly paths: Readonly<Record<string, string>>
}

const tables: ReadonlyArray<Table> = [
  {
    rules: [
      "/api",
      "/api/v1",
      "/users/:id",
      "/posts/:category/:id",
      "/files/*",
      "/docs/*/docs",
      "/items/{id:[0-9]+}",
      "/products/{code:[A-Z][A-Z][A-Z][0-9][0-9][0-9]}",
      "/counted/{code:[A-Z]{3}[0-9]{3}}",
      "/api/:version/users/{id:[0-9]+}/profile"
    ],
    paths: {
      "/api": "/api",
      "/api/v1": "/api/v1",
      "/api/v3": "default",
      "/api/v1/": "default",
      "/x": "default",
      "/users/123": "/users/:id",
      "/users/123?a=b&c=/d": "/users/:id",
      "/users/123/extra": "default",
      "/posts/tech/7": "/posts/:category/:id",
      "/posts/tech": "default",
      "/files/a.pdf": "/files/*",
      "/files/a/b.docx": "/files/*",
      "/docs/v1/docs": "/docs/*/docs",
      "/docs/v1/documents": "default",
      "/docs/v1/v2/docs": "default",
      "/items/42": "/items/{id:[0-9]+}",
      "/items/abc": "default",
      "/items/4x2": "default",
      "/products/ABC123": "/products/{code:[A-Z][A-Z][A-Z][0-9][0-9][0-9]}",
      "/products/abc123": "default",
      "/products/ABC12": "default",
      "/counted/ABC123": "/counted/{code:[A-Z]{3}[0-9]{3}}",
      "/counted/ABC1234": "default",
      "/api/v2/users/42/profile": "/api/:version/users/{id:[0-9]+}/profile",
      "/api/v2/users/abc/profile": "default"
    }
  },
  {
    rules: [
      "/api/*",
      "/api/users/:id",
      "/api/users/{id:[0-9]+}",
      "/api/users/admin",
      "/api/users/:id/keys",
      "/api/:x/7/keys"
    ],
    paths: {
      "/api/users/admin": "/api/users/admin",
      "/api/users/123": "/api/users/{id:[0-9]+}",
      "/api/users/bob": "/api/users/:id",
      "/api/users/7/keys": "/api/users/:id/keys",
      "/api/others/7/keys": "/api/:x/7/keys",
      "/api/users/bob/more": "/api/*",
      "/api/products": "/api/*",
      "/api": "default"
    }
  }
]

describe("the path table", () => {
  it.live.each(tables)("leads each of the paths to its pool", ({ paths, rules }) =>
    Effect.gen(function* () {
      const { url } = yield* Simulator.make()
      const names = rules.map((_, index) => `rule-${index}`)
      const all = ["default", ...names]
      const gateway = yield* serve({
        listeners: [
          { port: 0, pool: "default", routes: rules.map((path, index) => ({ path, pool: `rule-${index}` })) }
        ],
        backends: all.map((name) => ({ name, url })),
        pools: all.map((name) => ({ name, backends: [name] }))
      })
      const taken: Record<string, string> = {}
      for (const path of Object.keys(paths)) {
        const answer = yield* ask(gateway.url + path)
        const node = answer.headers.get("x-routed-node") ?? ""
        taken[path] = rules[names.indexOf(node)] ?? node
      }
      assert.deepStrictEqual(taken, paths)
    })
  )

  it.live("decides for what is routed by model too, before any rule", () =>
    Effect.gen(function* () {
      const names = ["a", "b", "c"]
      const engines = yield* Effect.forEach(names, (name) => Simulator.make({ name, models: ["m"] }))
      const gateway = yield* serve({
        listeners: [{ port: 0, pool: "a", routes: [{ path: "/v1/embeddings", pool: "b" }] }],
        backends: engines.map(({ url }, index) => ({ name: names[index], url, models: ["m"] })),
        pools: names.map((name) => ({ name, backends: [name] })),
        models: [{ match: "m", pool: "c" }]
      })
      const nodeOf = (path: string) =>
        Effect.map(post(gateway.url + path, { model: "m", input: "x", messages: [], max_tokens: 1 }), ({ headers }) =>
          headers.get("x-routed-node")
        )
      assert.strictEqual(yield* nodeOf("/v1/embeddings"), "b")
      assert.strictEqual(yield* nodeOf("/v1/chat/completions"), "c")
      const byPath = yield* ask(`${gateway.url}/version`)
      assert.strictEqual(byPath.headers.get("x-routed-node"), "a")
    })
  )
})
