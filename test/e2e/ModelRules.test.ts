/** Rules as users of a balancer in front of llama.cpp write them, and what they lead to. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Simulator } from "../../src/sim/Simulator.ts"
import { ask, chat, errorOf } from "./Ask.ts"
import { eventually, run, serve, serveText, temporaryFile } from "./Program.ts"

/** What each engine was asked for, in order. */
const askedOf = ({ requests }: Simulator["Service"]) =>
  Effect.map(requests(), (all) => all.flatMap(({ model }) => (model === undefined ? [] : [model])))

const modelIds = (url: string) =>
  Effect.map(ask(`${url}/v1/models`), ({ text }) => [...text.matchAll(/"id":"([^"]+)"/g)].map(([, id]) => id))

const listing = (url: string, expected: ReadonlyArray<string>) =>
  eventually(
    Effect.map(modelIds(url), (ids) => (ids.join(" ") === expected.join(" ") ? true : undefined)),
    () => expected.join(" ")
  )

describe("a rule file: ordered expressions, the servers of each, and one for everything else", () => {
  it.live("leads every model where its first rule says, and the rest to the last resort", () =>
    Effect.gen(function* () {
      const models = [
        ["gpt-oss:20b-64k", "gpt-oss:20b-64k-2", "qwen3:8b"],
        ["gpt-oss:20b-64k", "gpt-oss:20b"],
        ["nomic-embed-text-v1-5", "gpt-oss:120b"]
      ]
      const engines = yield* Effect.forEach(models, (each, index) =>
        Simulator.make({ name: `PC${index + 1}`, models: each })
      )
      const gateway = yield* serveText(
        `
listeners: [{ port: 0 }]
backends:
${engines.map(({ url }, index) => `  - { name: PC${index + 1}, adapter: llama-cpp, url: "${url}", maxConcurrency: 2 }`).join("\n")}
models:
  - { match: "gpt-oss:20b-64k.*", backends: [PC1, PC2], instances: true }
  - { match: "gpt-oss:.*", backends: [PC2, PC3] }
  - { match: "qwen3:.*", backends: [PC1] }
  - { match: "(nomic|e5)-embed.*", backends: [PC3] }
fallbackBackend: PC3
`,
        1
      )
      yield* listing(gateway.url, [
        "gpt-oss:120b",
        "gpt-oss:20b",
        "gpt-oss:20b-64k",
        "nomic-embed-text-v1-5",
        "qwen3:8b"
      ])
      const nodeOf = (model: string) =>
        Effect.map(chat(gateway.url, { model, max_tokens: 1 }), ({ headers, status }) => [
          status,
          headers.get("x-routed-node")
        ])
      assert.deepStrictEqual(yield* nodeOf("gpt-oss:20b"), [200, "PC2"])
      assert.deepStrictEqual(yield* nodeOf("gpt-oss:120b"), [200, "PC3"])
      assert.deepStrictEqual(yield* nodeOf("qwen3:8b"), [200, "PC1"])
      assert.deepStrictEqual(yield* nodeOf("nomic-embed-text-v1-5"), [200, "PC3"])
      assert.deepStrictEqual(yield* nodeOf("mystery"), [404, "PC3"], "by its own name, for the last resort to answer")
      assert.deepStrictEqual((yield* askedOf(engines[2] ?? assert.fail())).at(-1), "mystery")
      for (const { setFaults } of engines) yield* setFaults({ kind: "slow_first_token", delay: "1s" })
      const nodes = yield* Effect.forEach([1, 2, 3], () => nodeOf("gpt-oss:20b-64k"), { concurrency: 3 })
      assert.deepStrictEqual(nodes.map(String).toSorted(), ["200,PC1", "200,PC1", "200,PC2"])
    })
  )
})

describe("a model that is known by another name", () => {
  it.live("is asked for by the name that it has there, listed under both, and told by its own", () =>
    Effect.gen(function* () {
      const engine = yield* Simulator.make({ models: ["qwen2.5-72b"] })
      const gateway = yield* serve({
        backends: [{ name: "big", url: engine.url }],
        models: [{ match: "gpt-4o", upstreamModel: "qwen2.5-72b" }]
      })
      yield* listing(gateway.url, ["gpt-4o", "qwen2.5-72b"])
      assert.strictEqual((yield* chat(gateway.url, { model: "gpt-4o", max_tokens: 1 })).status, 200)
      assert.deepStrictEqual(yield* askedOf(engine), ["qwen2.5-72b"])
      const one = yield* ask(`${gateway.url}/v1/models/gpt-4o`)
      assert.deepStrictEqual([one.status, one.text.includes('"id":"gpt-4o"')], [200, true])
    })
  )

  it.live("is replaced by its fallback when it is overloaded, gone, or the prompt is too long for it", () =>
    Effect.gen(function* () {
      const small = yield* Simulator.make({ models: ["small"], contextTokens: 50 })
      const large = yield* Simulator.make({ models: ["large"] })
      const gateway = yield* serve({
        backends: [
          { name: "s", url: small.url, models: ["small"] },
          { name: "l", url: large.url, models: ["large"] }
        ],
        models: [{ match: "small", fallbacks: ["large"] }]
      })
      const nodeOf = (fields: Record<string, unknown> = {}) =>
        Effect.map(chat(gateway.url, { model: "small", max_tokens: 1, ...fields }), ({ headers, status }) =>
          [status, headers.get("x-routed-node"), headers.get("x-weir-attempts")].join(" ")
        )
      assert.strictEqual(yield* nodeOf(), "200 s 1")
      const long = [{ role: "user", content: "word ".repeat(400) }]
      assert.strictEqual(yield* nodeOf({ messages: long }), "200 l 2")
      assert.strictEqual(yield* nodeOf({ messages: long, stream: true }), "200 l 2")
      yield* small.setFaults({ kind: "status", status: 503, times: 1 })
      assert.strictEqual(yield* nodeOf(), "200 l 2")
      yield* small.stop
      assert.match(yield* nodeOf(), /^200 l /)
      assert.deepStrictEqual([...new Set(yield* askedOf(large))], ["large"])
    })
  )
})

describe("a model that cannot call tools", () => {
  it.live("is not asked to: the request is refused before it costs anything", () =>
    Effect.gen(function* () {
      const engine = yield* Simulator.make({ models: ["plain", "handy"] })
      const gateway = yield* serve({
        backends: [{ name: "e", url: engine.url, models: ["plain", "handy"] }],
        models: [
          { match: "plain", tools: { parser: "none" } },
          { match: "handy", tools: { parser: "hermes" } }
        ]
      })
      const tools = [{ type: "function", function: { name: "f", parameters: { type: "object" } } }]
      const refused = yield* chat(gateway.url, { model: "plain", tools })
      assert.deepStrictEqual(
        [refused.status, errorOf(refused).code, errorOf(refused).param],
        [400, "tools_not_supported", "tools"]
      )
      assert.strictEqual((yield* engine.stats).started, 0)
      assert.strictEqual(
        (yield* chat(gateway.url, { model: "plain", tools, tool_choice: "none", max_tokens: 1 })).status,
        200
      )
      assert.strictEqual((yield* chat(gateway.url, { model: "handy", tools, max_tokens: 1 })).status, 200)
    })
  )
})

describe("a configuration that routes nowhere", () => {
  const config = JSON.stringify({
    backends: [{ name: "a", url: "http://127.0.0.1:1", weight: 0 }],
    listeners: [
      {
        routes: [
          { path: "/a/:x", pool: "p" },
          { path: "/a/:y", pool: "p" }
        ]
      }
    ],
    pools: [{ name: "p", backends: ["a"], sticky: { maxImbalence: 2 } }],
    models: [
      { match: "(?=x)", pool: "p" },
      { match: "m", backends: ["b"] },
      { match: "m", pool: "p" }
    ]
  })
  it.live.each(["check", "serve"])("makes `weir %s` end with 1 and all that is wrong, each with its place", (command) =>
    Effect.gen(function* () {
      const program = yield* run([command, "--config", yield* temporaryFile(config)])
      assert.strictEqual(yield* program.ended, 1)
      const said = [...program.stdout, ...program.stderr].join("\n")
      for (const place of [
        "backends[0].weight: ",
        "listeners[0].routes[1].path: duplicate path",
        "pools[0].sticky.maxImbalence: unknown key; did you mean maxImbalance?",
        "models[0].match: ",
        "models[1].backends[0]: unknown backend b",
        "models[2].match: duplicate match"
      ]) {
        assert.include(said, place)
      }
    })
  )
})
