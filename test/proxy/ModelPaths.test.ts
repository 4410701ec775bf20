/** Whatever its path: a request that names a model goes to a backend that has it, with the name by which it is known there. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { endpointPaths } from "../../src/protocol/Endpoint.ts"
import { type Question, type Setting, withGateway } from "./Harness.ts"
import { answer, later } from "./ScriptedTransport.ts"

const well = answer(200, "{}")

const two: Setting = {
  script: { a: [well], b: [well] },
  backends: { a: { models: ["llama3:8b"] }, b: { models: ["qwen3:0.6b", "real/one"] } },
  more: {
    models: [
      { match: "alias", upstreamModel: "real/one" },
      { match: "gone", fallbacks: ["qwen3:0.6b"] },
      { match: "blind", upstreamModel: "llama3:8b", tools: { parser: "none" } }
    ],
    keys: [
      { name: "limited", key: "1", models: ["llama3:8b", "alias"] },
      { name: "globbed", key: "2", models: ["llama*"] },
      { name: "free", key: "3" }
    ]
  }
}

const json = (body: object): Question => ({ raw: Buffer.from(JSON.stringify(body)) })

/** Which backend was asked for what: its name, the path and the body. */
const asked = (question: Question, setting = two) =>
  withGateway(setting, (gateway) =>
    Effect.gen(function* () {
      yield* gateway.ask(question)
      return gateway.transport.exchanges.map(({ request, text }) => [request.backend.name, request.path, text])
    })
  )

const codeOf = (question: Question, setting = two) =>
  withGateway(setting, (gateway) =>
    Effect.gen(function* () {
      const { code } = yield* gateway.refusal(question)
      assert.strictEqual(gateway.transport.asked, "")
      return code
    })
  )

const unknownPaths = ["/v1/images/upscale", "/api/v9/jobs", "/x"]

describe("a model that a body names", () => {
  const backends = [
    { name: "a", url: "http://a.test", models: ["llama3:8b"] },
    { name: "b", url: "http://b.test" }
  ]

  it.effect.each([...endpointPaths, ...unknownPaths])("a model at %s is found at the backend that has it", (path) =>
    Effect.gen(function* () {
      for (const [model, backend] of [
        ["llama3:8b", "a"],
        ["qwen3:0.6b", "b"]
      ] as const) {
        const body = `{ "prompt" : 1.0, "model" :"${model}","x":[]}`
        for (const raw of [Buffer.from(body), new Uint8Array(Buffer.from(body))]) {
          const [found, ...rest] = yield* asked({ path, raw })
          assert.deepStrictEqual([found?.[0], found?.[2], rest], [backend, body, []])
        }
      }
    })
  )

  it.effect.each([...endpointPaths, ...unknownPaths])("a model at %s is renamed, and no other byte changes", (path) =>
    Effect.gen(function* () {
      const body = (model: string) =>
        `\n{ "n" :12345678901234567890,\t"m\\u006fdel":"${model}" , "y":{"model":"alias"} }`
      const [found] = yield* asked({ path, raw: Buffer.from(body("alias")) })
      assert.deepStrictEqual([found?.[0], found?.[2]], ["b", body("real/one")])
    })
  )

  it.effect.each([...endpointPaths, ...unknownPaths])("a model at %s is the one that a key must allow", (path) =>
    Effect.gen(function* () {
      const refused = yield* codeOf({ path, key: "limited", ...json({ model: "qwen3:0.6b" }) })
      assert.strictEqual(refused, "model_not_allowed")
      assert.strictEqual((yield* asked({ path, key: "limited", ...json({ model: "alias" }) }))[0]?.[0], "b")
      assert.strictEqual((yield* asked({ path, key: "globbed", ...json({ model: "llama3:8b" }) }))[0]?.[0], "a")
    })
  )

  it.effect.each(["/api/chat", "/completion", ...unknownPaths])(
    "a model at %s is not found where it is nowhere",
    (path) =>
      Effect.map(codeOf({ path, ...json({ model: "nobody's" }) }), (code) => {
        assert.strictEqual(code, "model_not_found")
      })
  )

  it.effect.each(["/api/chat", "/completion", ...unknownPaths])(
    "a model at %s is asked of a backend of unknown models, where no other has it",
    (path) =>
      withGateway({ ...two, more: { backends } }, (gateway) =>
        Effect.gen(function* () {
          // It has no list of models.
          gateway.transport.probes.set("b", answer(404))
          yield* gateway.passUntil(() => gateway.state("b").health.status === "healthy")
          const { headers } = yield* gateway.ask({ path, ...json({ model: "new" }) })
          assert.deepStrictEqual([headers["x-routed-node"], gateway.transport.asked], ["b", "b"])
        })
      )
  )

  it.effect.each(["/api/generate", "/infill", "/x"])("a model at %s that is nowhere has its fallback asked", (path) =>
    Effect.gen(function* () {
      const [found] = yield* asked({ path, ...json({ model: "gone" }) })
      assert.deepStrictEqual([found?.[0], found?.[2]], ["b", '{"model":"qwen3:0.6b"}'])
    })
  )

  it.effect("is named by Ollama's old name, too, and renamed in its place", () =>
    Effect.gen(function* () {
      const [found] = yield* asked({ path: "/api/show", ...json({ name: "alias", verbose: true }) })
      assert.deepStrictEqual([found?.[0], found?.[2]], ["b", '{"name":"real/one","verbose":true}'])
    })
  )

  it.effect("a model in a body of any method counts where the path is not known", () =>
    Effect.gen(function* () {
      for (const method of ["POST", "PUT", "PATCH", "DELETE"]) {
        const question = { method, path: "/x", ...json({ model: "qwen3:0.6b" }) }
        assert.strictEqual((yield* asked(question))[0]?.[0], "b", method)
        assert.strictEqual(yield* codeOf({ ...question, key: "limited" }), "model_not_allowed", method)
      }
    })
  )
})

describe("a request that names no model", () => {
  const bodies = ["{}", '{"prompt":"x"}', "", "not JSON", '{"model":7}', '{"x":{"model":"llama3:8b"}}']

  it.effect.each(bodies)("goes by path with every byte of %j, where none is required", (body) =>
    Effect.gen(function* () {
      for (const path of ["/completion", "/v1/moderations", "/rerank", "/x"]) {
        const raw = Buffer.from(`\ufeff${body}`)
        const [found] = yield* asked({ path, raw })
        assert.deepStrictEqual(found, ["a", path, raw.toString("utf8")])
      }
    })
  )

  it.effect.each(bodies)("is not for a key with limited models, whatever the body says: %j", (body) =>
    Effect.gen(function* () {
      for (const path of ["/completion", "/v1/moderations", "/rerank", "/x"]) {
        for (const raw of [Buffer.from(body), Stream.make(Buffer.from(body))]) {
          assert.strictEqual(yield* codeOf({ path, key: "limited", raw }), "model_not_allowed", path)
        }
      }
      for (const method of ["GET", "HEAD", "DELETE", "OPTIONS"]) {
        assert.strictEqual(yield* codeOf({ method, path: "/x", key: "globbed" }), "model_not_allowed", method)
      }
    })
  )

  it.effect("is told to name one where one is required, or gets the default", () =>
    Effect.gen(function* () {
      const defaulted = { ...two, more: { ...two.more, defaultModel: "alias" } }
      for (const path of ["/v1/chat/completions", "/v1/messages/count_tokens", "/api/chat", "/tokenize"]) {
        assert.strictEqual(yield* codeOf({ path, ...json({ x: 1 }) }), "model_required", path)
        const [found] = yield* asked({ path, ...json({ x: 1 }) }, defaulted)
        assert.deepStrictEqual(found, ["b", path, '{"model":"real/one","x":1}'])
        const limited = { path, key: "globbed", ...json({ x: 1 }) }
        assert.strictEqual(yield* codeOf(limited, defaulted), "model_not_allowed", path)
      }
      const [passed] = yield* asked({ path: "/completion", ...json({ x: 1 }) }, defaulted)
      assert.deepStrictEqual(passed, ["a", "/completion", '{"x":1}'])
    })
  )
})

describe("a deployment in the path", () => {
  const at = (name: string, rest = "/chat/completions") => `/openai/deployments/${name}${rest}`

  it.effect.each([
    ["llama3:8b", "/chat/completions", "a", "llama3:8b"],
    ["qwen3%3A0.6b", "/embeddings", "b", "qwen3%3A0.6b"],
    ["alias", "/chat/completions", "b", "real%2Fone"],
    ["alias", "/extensions/anything", "b", "real%2Fone"],
    ["real%2Fone", "/audio/transcriptions", "b", "real%2Fone"]
  ] as const)("%s%s is found at the backend that has it", ([name, rest, backend, sent]) =>
    Effect.gen(function* () {
      for (const raw of [Buffer.from('{"messages":[]}'), Buffer.from('{"model":"gpt-4o","messages":[]}')]) {
        const [found] = yield* asked({ path: at(name, rest), raw })
        assert.deepStrictEqual(found, [backend, at(sent, rest), raw.toString("utf8")])
      }
    })
  )

  it.effect("is renamed in the body too, where that names the same", () =>
    Effect.gen(function* () {
      const [found] = yield* asked({ path: at("alias"), ...json({ model: "alias", n: 1 }) })
      assert.deepStrictEqual(found, ["b", at("real%2Fone"), '{"model":"real/one","n":1}'])
    })
  )

  it.effect("is found whatever is sent: a form, nothing at all", () =>
    Effect.gen(function* () {
      const form = yield* asked({ path: at("qwen3:0.6b", "/audio/transcriptions"), raw: Stream.make(Buffer.from("x")) })
      assert.strictEqual(form[0]?.[0], "b")
      assert.strictEqual((yield* asked({ method: "GET", path: at("qwen3:0.6b", "/x") }))[0]?.[0], "b")
    })
  )

  it.effect("a deployment in the path and another model in the body must both be allowed to the key", () =>
    Effect.gen(function* () {
      const body = (model: string) => json({ model, messages: [] })
      assert.strictEqual(yield* codeOf({ path: at("qwen3:0.6b"), key: "limited" }), "model_not_allowed")
      assert.strictEqual(
        yield* codeOf({ path: at("llama3:8b"), key: "limited", ...body("qwen3:0.6b") }),
        "model_not_allowed"
      )
      assert.strictEqual((yield* asked({ path: at("llama3:8b"), key: "limited", ...body("alias") }))[0]?.[0], "a")
    })
  )
})

describe("another attempt", () => {
  const failing: Setting = {
    script: { a: [answer(500)], b: [well] },
    backends: { a: { models: ["m"] }, b: { models: ["m", "n"] } },
    more: { models: [{ match: "m", fallbacks: ["n"] }] }
  }

  it.effect.each(["/completion", "/api/embed", "/v1/images/generations", "/v2/rerank"])(
    "is made for inference at %s",
    (path) =>
      withGateway(failing, (gateway) =>
        Effect.gen(function* () {
          const { status } = yield* gateway.ask({ path })
          assert.deepStrictEqual([status, gateway.transport.asked], [200, "ab"])
        })
      )
  )

  it.effect.each(unknownPaths)("is not made at %s, whose meaning is not known, nor another model asked", (path) =>
    withGateway(failing, (gateway) =>
      Effect.gen(function* () {
        const { status } = yield* gateway.ask({ path })
        assert.deepStrictEqual([status, gateway.transport.asked], [500, "a"])
      })
    )
  )

  it.effect.each([500, 503, 404, 401, 200])("a %i at a path of unknown meaning says nothing of the backend", (status) =>
    withGateway({ ...failing, script: { a: [answer(status)], b: [answer(status)] } }, (gateway) =>
      Effect.gen(function* () {
        for (let n = 0; n < 12; n++) yield* Effect.exit(gateway.ask({ path: "/x" }))
        const { circuit, failures, outcomes } = gateway.state("a")
        assert.deepStrictEqual([circuit.phase, failures], ["closed", 0])
        assert.strictEqual(outcomes.failureRate(gateway.now()), 0)
      })
    )
  )

  it.effect("is made where a request never left, or may be repeated", () =>
    withGateway({ ...failing, script: { a: [{ fails: "connect", after: 0 }], b: [well] } }, (gateway) =>
      Effect.gen(function* () {
        const { status } = yield* gateway.ask({ path: "/x" })
        assert.deepStrictEqual([status, gateway.transport.asked], [200, "ab"])
      })
    )
  )
})

describe("what speaks Ollama", () => {
  const lines = { headers: { "content-type": "application/x-ndjson" } }
  const line = '{"model":"m","response":"x","done":false}\n'

  it.effect("is relayed line by line, and complete when it says so", () =>
    withGateway(
      { script: { a: [answer(200, [line, later("1 second", line), '{"done":true,"eval_count":2}\n'], lines)] } },
      (gateway) =>
        Effect.gen(function* () {
          const { broken, report, text } = yield* gateway.ask({ path: "/api/generate" })
          assert.deepStrictEqual([broken, report.end], [false, "complete"])
          assert.strictEqual(text, `${line}${line}{"done":true,"eval_count":2}\n`)
        })
    )
  )

  it.effect("is told of a cut in a line of its own", () =>
    withGateway({ script: { a: [answer(200, [line], { ...lines, end: "cut" })] } }, (gateway) =>
      Effect.gen(function* () {
        const { report, text } = yield* gateway.ask({ path: "/api/chat" })
        assert.strictEqual(report.end, "upstream_truncated")
        const last: unknown = JSON.parse(text.trim().split("\n").at(-1) ?? "")
        assert.isTrue(typeof last === "object" && last !== null && "error" in last && typeof last.error === "string")
      })
    )
  )
})
