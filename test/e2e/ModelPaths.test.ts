/** Requests at the paths of other APIs than OpenAI's main ones, through the built program. */
import { createServer } from "node:http"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { listen } from "../transport/Origin.ts"
import { ask, post } from "./Ask.ts"
import { eventually, serve } from "./Program.ts"

/** Knows its own models only, as engines do, and tells what it was asked for. */
const engine = Effect.fnUntraced(function* (...models: ReadonlyArray<string>) {
  const seen: Array<string> = []
  const server = createServer((request, response) => {
    const chunks: Array<Uint8Array> = []
    request.on("data", (chunk: Uint8Array) => chunks.push(chunk))
    request.on("end", () => {
      response.setHeader("content-type", "application/json")
      if (request.url === "/v1/models" && request.method === "GET") {
        response.end(JSON.stringify({ object: "list", data: models.map((id) => ({ id })) }))
        return
      }
      const body = Buffer.concat(chunks).toString("utf8")
      seen.push(`${request.method} ${request.url}`)
      const unknown = body.includes('"model"') && !models.some((model) => body.includes(JSON.stringify(model)))
      response.statusCode = unknown ? 404 : 200
      response.end(JSON.stringify({ body }))
    })
  })
  const port = yield* listen(server, () => server.closeAllConnections())
  return { url: `http://127.0.0.1:${port}`, seen }
})

const setUp = Effect.fnUntraced(function* (config: object = {}) {
  const llama = yield* engine("llama3:8b", "shared")
  const qwen = yield* engine("qwen3:0.6b", "shared")
  const gateway = yield* serve({
    backends: [
      { name: "llama", url: llama.url },
      { name: "qwen", url: qwen.url },
      { name: "dead", url: "http://127.0.0.1:1" }
    ],
    models: [{ match: "alias", upstreamModel: "qwen3:0.6b" }],
    ...config
  })
  return { url: gateway.url, llama, qwen }
})

const bearer = (key: string) => ({ authorization: `Bearer ${key}` })

/** Waits until an answer says something: discovery takes a moment. */
const told = (url: string, path: string, words: string, headers: Record<string, string> = {}) =>
  eventually(
    Effect.map(ask(url + path, { headers }), ({ text }) => (text.includes(words) ? text : undefined)),
    () => `${path} does not tell ${words}`
  )

const keys = [
  { name: "some", key: "some", models: ["llama3:8b"] },
  { name: "all", key: "all" }
]

const namesOf = (json: unknown): ReadonlyArray<string> =>
  [...JSON.stringify(json).matchAll(/"name":"([^"]+)"/g)].map(([, name]) => name ?? "")

describe("Ollama's API", () => {
  it.live("lists the models of all engines together, whichever is dead, and to each key its own", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp({ keys })
      for (const path of ["/api/tags", "/api/ps"]) {
        yield* told(url, path, '"qwen3:0.6b"', bearer("all"))
        const { json } = yield* ask(url + path, { headers: bearer("all") })
        assert.deepStrictEqual(namesOf(json), ["alias", "llama3:8b", "qwen3:0.6b", "shared"])
        assert.deepStrictEqual(namesOf((yield* ask(url + path, { headers: bearer("some") })).json), ["llama3:8b"])
        const refused = yield* ask(url + path)
        assert.strictEqual(refused.status, 401)
        assert.isString(Object.getOwnPropertyDescriptor(refused.json, "error")?.value)
      }
    })
  )

  it.live("goes to the engine that has the model, also from clients that do not say that they send JSON", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp()
      for (const [model, node] of [
        ["llama3:8b", "llama"],
        ["qwen3:0.6b", "qwen"],
        ["alias", "qwen"]
      ]) {
        for (const type of ["application/json", "application/x-www-form-urlencoded", "text/plain"]) {
          const body = JSON.stringify({ model, prompt: "x", stream: false })
          const init = { method: "POST", headers: { "content-type": type }, body }
          for (const path of ["/api/generate", "/completion", "/v2/rerank"]) {
            const answer = yield* ask(url + path, init)
            assert.deepStrictEqual([answer.status, answer.headers.get("x-routed-node")], [200, node], `${path} ${type}`)
          }
        }
      }
    })
  )

  it.live("has errors in Ollama's form", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp({ keys })
      for (const [body, status] of [
        ["{", 400],
        ["{}", 400],
        ['{"model":"qwen3:0.6b"}', 403]
      ] as const) {
        const answer = yield* post(`${url}/api/chat`, body, bearer("some"))
        assert.strictEqual(answer.status, status)
        assert.deepStrictEqual(Object.keys(Object(answer.json)), ["error"])
        assert.isString(Object.getOwnPropertyDescriptor(answer.json, "error")?.value)
      }
    })
  )
})

describe("Azure's API", () => {
  it.live("is OpenAI's below /openai/v1, and names the model in the path below /openai/deployments", () =>
    Effect.gen(function* () {
      const { llama, qwen, url } = yield* setUp()
      yield* told(url, "/openai/v1/models", '"id":"qwen3:0.6b"')
      assert.strictEqual((yield* post(`${url}/openai/v1/chat/completions`, { model: "llama3:8b" })).status, 200)
      assert.strictEqual((yield* ask(`${url}/openai/v1/chat/completions`)).status, 405)
      const deployed = `${url}/openai/deployments/alias/chat/completions?api-version=2024-10-21`
      const answer = yield* post(deployed, { messages: [] })
      assert.deepStrictEqual([answer.status, answer.headers.get("x-routed-node")], [200, "qwen"])
      assert.include(llama.seen, "POST /v1/chat/completions")
      assert.include(qwen.seen, "POST /openai/deployments/qwen3%3A0.6b/chat/completions?api-version=2024-10-21")
    })
  )
})

describe("a GET beside an endpoint", () => {
  it.live("goes by path where it is no endpoint itself, and is not allowed where it is one of the main ones", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp()
      for (const path of ["/v1/responses/resp_1", "/v1/audio/voices", "/v1/files", "/rerank", "/v1/moderations"]) {
        const answer = yield* ask(url + path)
        assert.strictEqual(answer.status, 200, path)
        assert.isTrue(answer.headers.has("x-routed-node"), path)
      }
      for (const path of ["/v1/responses", "/v1/embeddings", "/tokenize"]) {
        const answer = yield* ask(url + path)
        assert.deepStrictEqual([answer.status, answer.headers.get("allow")], [405, "POST"], path)
      }
    })
  )
})

describe("the default model", () => {
  it.live("is asked for where none is named, else the client is told to name one", () =>
    Effect.gen(function* () {
      const named = yield* setUp({ defaultModel: "alias" })
      for (const path of ["/v1/chat/completions", "/v1/embeddings", "/api/chat"]) {
        const answer = yield* post(named.url + path, { messages: [] })
        assert.deepStrictEqual([answer.status, answer.headers.get("x-routed-node")], [200, "qwen"], path)
      }
      const { url } = yield* setUp()
      const refused = yield* post(`${url}/v1/chat/completions`, { messages: [] })
      assert.nestedPropertyVal(refused.json, "error.code", "model_required")
    })
  )
})
