/** The paths that are llama.cpp's own, and its own key, through the gateway. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { ask, chat, errorOf, post } from "../e2e/Ask.ts"
import { eventually, serve } from "../e2e/Program.ts"
import { engineGateway, loaded, standings } from "./EngineGateway.ts"
import { llamaServer } from "./LlamaServer.ts"

const messages = [{ role: "user", content: "Hi" }]

describe("llama.cpp's own paths", () => {
  it.live("reach a real llama-server, with a model and, where it needs none, without", () =>
    Effect.gen(function* () {
      const { url } = yield* engineGateway(1)
      const asked = [
        ["/completion", { model: "tiny", prompt: "River", n_predict: 4 }, /"tokens_predicted":4/],
        ["/completion", { prompt: "River", n_predict: 4 }, /"tokens_predicted":4/],
        ["/completions", { model: "tiny", prompt: "River", n_predict: 4 }, /"tokens_predicted":4/],
        ["/chat/completions", { model: "tiny", messages, max_tokens: 4 }, /"object":"chat\.completion"/],
        ["/chat/completions", { messages, max_tokens: 4 }, /"object":"chat\.completion"/],
        ["/v1/messages/count_tokens", { model: "tiny", messages }, /"input_tokens":\d/],
        ["/v1/messages", { model: "tiny", messages, max_tokens: 4 }, /"type":"message"/],
        ["/tokenize", { model: "tiny", content: "Hello" }, /"tokens":\[\d/],
        ["/detokenize", { model: "tiny", tokens: [72] }, /"content":/],
        ["/apply-template", { messages }, /"prompt":/]
      ] as const
      for (const [path, body, expected] of asked) {
        const answer = yield* post(url + path, body)
        assert.strictEqual(answer.status, 200, `${path}: ${answer.text}`)
        assert.match(answer.text, expected, path)
      }
      const streams = [
        ["/completion", { model: "tiny", prompt: "River", n_predict: 4, stream: true }, /"stop":true/],
        ["/chat/completions", { model: "tiny", messages, max_tokens: 4, stream: true }, /data: \[DONE\]/]
      ] as const
      for (const [path, body, end] of streams) {
        const { headers, status, text } = yield* post(url + path, body)
        assert.deepStrictEqual([status, headers.get("content-type")], [200, "text/event-stream"], path)
        assert.match(text, end, path)
        assert.notInclude(text, "upstream_truncated", path)
      }
    })
  )

  it.live("may be read where they tell its state, and are refused where they change it", () =>
    Effect.gen(function* () {
      const { engines, url } = yield* engineGateway(1)
      for (const path of ["/props", "/slots", "/lora-adapters"]) {
        const through = yield* ask(url + path)
        const direct = yield* ask(`${engines[0]?.url}${path}`)
        assert.deepStrictEqual([through.status, direct.status], [200, 200], path)
        assert.deepStrictEqual(Object.keys(Object(through.json)), Object.keys(Object(direct.json)), path)
      }
      const writes = [
        ["/props", {}],
        ["/slots/0?action=erase", {}],
        ["/slots/0?action=save", { filename: "a.bin" }],
        ["/v1/slots/0?action=restore", { filename: "a.bin" }],
        ["/lora-adapters", [{ id: 0, scale: 1 }]],
        ["/models/load", { model: "tiny" }]
      ] as const
      for (const [path, body] of writes) {
        const answer = yield* post(url + path, body)
        assert.deepStrictEqual([answer.status, errorOf(answer).code], [403, "path_not_allowed"], path)
      }
    })
  )

  it.live("paths that llama.cpp lacks do not put it last for other requests", () =>
    Effect.gen(function* () {
      const { url } = yield* engineGateway(2)
      for (const path of ["/v1/audio/speech", "/api/chat", "/v1/images/generations"]) {
        const answer = yield* post(url + path, { model: "tiny", messages, input: "a", prompt: "a" })
        assert.deepStrictEqual([answer.status, answer.headers.get("x-weir-attempts")], [404, "1"], path)
      }
      // The one that has no latency yet is first, unless it is asked last.
      const nodes = new Set<string | null>()
      for (let i = 0; i < 2; i++) {
        nodes.add((yield* chat(url, { model: "tiny", max_tokens: 4 })).headers.get("x-routed-node"))
      }
      assert.strictEqual(nodes.size, 2, "both are asked for the model as before")
    })
  )

  it.live.each([
    ["/completion", { prompt: "Go on.", n_predict: 3000 }],
    ["/chat/completions", { messages, max_tokens: 3000 }],
    ["/v1/messages", { messages, max_tokens: 3000 }],
    ["/v1/responses", { input: "Go on.", max_output_tokens: 3000 }]
  ] as const)("%s: a client that leaves its stream cancels the task", ([path, fields]) =>
    Effect.gen(function* () {
      const { engines, url } = yield* engineGateway(1)
      const cancelled = () => engines[0]?.log.some((line) => line.includes("cancel task")) === true
      assert.isFalse(cancelled())
      yield* Effect.promise(async () => {
        const leaving = new AbortController()
        const response = await fetch(url + path, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ model: "tiny", stream: true, ...fields }),
          signal: leaving.signal
        })
        assert.strictEqual(response.status, 200)
        const reader = response.body?.getReader()
        for (let i = 0; i < 3; i++) assert.isFalse((await reader?.read())?.done)
        leaving.abort()
      })
      yield* eventually(
        Effect.sync(() => (cancelled() ? true : undefined)),
        () => engines[0]?.log.slice(-20).join("\n") ?? ""
      )
      for (const { circuit, failures } of yield* standings(url)) {
        assert.deepStrictEqual([circuit, failures], ["closed", 0])
      }
    })
  )
})

describe("a llama-server with a key of its own", () => {
  const behind = Effect.fnUntraced(function* (auth: object) {
    const engine = yield* llamaServer(["--api-key", "engine-key"])
    yield* loaded(engine)
    return yield* serve({
      health: { interval: "500ms" },
      backends: [{ name: "llama", url: engine.url, adapter: "llama-cpp", models: ["tiny"], ...auth }]
    })
  })

  it.live.each([
    ["none", {}],
    ["a wrong one", { auth: { type: "bearer", token: "wrong-key" } }]
  ] as const)("a llama-server given %s by the gateway is misconfigured, and no client is told 401", ([, auth]) =>
    Effect.gen(function* () {
      const { url } = yield* behind(auth)
      for (let i = 0; i < 3; i++) {
        const answer = yield* chat(url, { model: "tiny", max_tokens: 4 }, { authorization: "Bearer engine-key" })
        const { code, message } = errorOf(answer)
        assert.deepStrictEqual([answer.status, code], [502, "upstream_error"])
        assert.match(message, /credential/)
      }
      const [standing] = yield* standings(url)
      assert.deepStrictEqual([standing?.health, standing?.circuit], ["misconfigured", "closed"])
      assert.strictEqual((yield* ask(`${url}/readyz`)).status, 503)
    })
  )

  it.live("a llama-server given a wrong key, without configured models, is misconfigured before any request", () =>
    Effect.gen(function* () {
      const { url } = yield* behind({ models: undefined, auth: { type: "bearer", token: "wrong-key" } })
      yield* eventually(
        Effect.map(standings(url), ([first]) => (first?.health === "misconfigured" ? true : undefined)),
        () => "it never became misconfigured"
      )
      const answer = yield* chat(url, { model: "tiny", max_tokens: 4 })
      assert.deepStrictEqual([answer.status, errorOf(answer).code], [502, "upstream_error"])
    })
  )

  it.live("a llama-server given the right key answers", () =>
    Effect.gen(function* () {
      const { url } = yield* behind({ auth: { type: "bearer", token: "engine-key" } })
      const answer = yield* chat(url, { model: "tiny", max_tokens: 4 })
      assert.strictEqual(answer.status, 200, answer.text)
      yield* eventually(
        Effect.map(ask(`${url}/readyz`), ({ status }) => (status === 200 ? true : undefined)),
        () => "it never became ready"
      )
      assert.strictEqual((yield* standings(url))[0]?.health, "healthy")
    })
  )
})
