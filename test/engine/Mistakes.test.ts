/** Requests of one client that a real llama-server answers with 5xx because of the client's mistake, and other users'. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import OpenAI from "openai"
import { ask, chat, post } from "../e2e/Ask.ts"
import { eventually } from "../e2e/Program.ts"
import { engineGateway, standings } from "./EngineGateway.ts"
import type { LlamaServer } from "./LlamaServer.ts"

const pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
const dataUrl = `data:image/png;base64,${pixel}`
const image = { type: "image_url", image_url: { url: dataUrl } }
const anthropicImage = { type: "image", source: { type: "base64", media_type: "image/png", data: pixel } }
const user = (content: unknown) => [{ role: "user", content }]

interface Mistake {
  readonly what: string
  readonly path: string
  readonly status: number
  readonly body: Record<string, unknown>
}

const mistake = (status: number, what: string, path: string, fields: Record<string, unknown>): Mistake => ({
  what,
  path,
  status,
  body: { model: "tiny", max_tokens: 4, ...fields }
})

const inChat = (status: number, what: string, fields: Record<string, unknown>) =>
  mistake(status, what, "/v1/chat/completions", { messages: user("Hi"), ...fields })

/** What it cannot do: 501, which no other engine is asked for. */
const unsupported = [
  mistake(501, "embeddings without --embeddings", "/v1/embeddings", { input: "x" }),
  mistake(501, "embeddings at llama.cpp's own path", "/embedding", { content: "x" }),
  mistake(501, "reranking without --reranking", "/v1/rerank", { query: "a", documents: ["b"] }),
  mistake(501, "infill for a model without its tokens", "/infill", { input_prefix: "a", input_suffix: "b" }),
  mistake(501, "a transcription", "/v1/audio/transcriptions", {})
]

/** What it fails at: 500, for which each other engine is asked once. */
const poisonous = [
  inChat(500, "an image in a chat", { messages: user([{ type: "text", text: "What is it?" }, image]) }),
  inChat(500, "an image in a stream", { stream: true, messages: user([image]) }),
  mistake(500, "an image in a message", "/v1/messages", { messages: user([anthropicImage]) }),
  mistake(500, "an image whose tokens are counted", "/v1/messages/count_tokens", { messages: user([anthropicImage]) }),
  mistake(500, "an image in a response", "/v1/responses", {
    input: [{ role: "user", content: [{ type: "input_image", image_url: dataUrl }] }]
  }),
  mistake(500, "an image at llama.cpp's own path", "/chat/completions", { messages: user([image]) }),
  inChat(500, "audio in a chat", {
    messages: user([{ type: "input_audio", input_audio: { data: "AAAA", format: "wav" } }])
  }),
  inChat(500, "a tool without its function", { tools: [{ type: "function" }] }),
  inChat(500, "a tool without a type", { tools: [{}] }),
  inChat(500, "a tool whose name is a number", { tools: [{ type: "function", function: { name: 5 } }] }),
  inChat(500, "a message without a role", { messages: [{ content: "Hi" }] }),
  inChat(500, "a role that is a number", { messages: [{ role: 5, content: "Hi" }] }),
  inChat(500, "a tool call without a type", { messages: [{ role: "assistant", tool_calls: [{}] }] }),
  inChat(500, "an unknown reasoning format", { reasoning_format: "bogus" }),
  mistake(500, "tokens that are none", "/detokenize", { tokens: "x" }),
  mistake(500, "a token that the vocabulary lacks", "/detokenize", { tokens: [99_999_999] })
]

/** What it answers with 400 as it should: siblings that other builds of it answer with 500. */
const refused = [
  inChat(400, "an unknown tool_choice", { tool_choice: "bogus" }),
  inChat(400, "a schema of an unknown type", {
    response_format: { type: "json_schema", json_schema: { schema: { type: "bogus" } } }
  }),
  inChat(400, "a grammar that does not parse", { grammar: "root ::= (" }),
  inChat(400, "an n that is too large", { n: 100_000 }),
  inChat(400, "a temperature that is a word", { temperature: "hot" }),
  inChat(400, "a part of an unknown type", { messages: user([{ type: "bogus" }]) }),
  mistake(400, "a prompt that is an object", "/v1/completions", { prompt: { a: 1 } }),
  mistake(400, "an unknown item in a response", "/v1/responses", { input: [{ type: "bogus" }] })
]

/** A chat and a stream of another user, both answered at the first try. */
const served = Effect.fnUntraced(function* (url: string, after: string) {
  for (const stream of [false, true]) {
    const { headers, status, text } = yield* chat(url, { model: "tiny", max_tokens: 4, stream })
    assert.deepStrictEqual([status, headers.get("x-weir-attempts")], [200, "1"], `after ${after}: ${text}`)
    if (stream) assert.match(text, /data: \[DONE\]\s*$/)
  }
})

/** How often engines say that they answered with 500, once that is `expected`: their logs come a little later. */
const failuresSaid = (engines: ReadonlyArray<LlamaServer>, expected: number) => {
  const said = () =>
    engines.flatMap(({ log }) => log).filter((line) => line.includes('got exception: {"error":{"code":500')).length
  return eventually(
    Effect.sync(() => (said() >= expected ? said() : undefined)),
    () => `the engines say ${said()} times that they answered with 500, and not ${expected} times`
  )
}

describe.each([1, 2])("mistakes, each sent nine times as by SDKs that retry, with %d real llama-server(s)", (count) => {
  const attemptsOf = (status: number) => (status === 500 ? count : 1)

  it.live(
    "take them from no other user, move no circuit, and reach them as often as the rules say",
    () =>
      Effect.gen(function* () {
        const { engines, stderr, url } = yield* engineGateway(count)
        const sum = Effect.map(standings(url), (all) => all.reduce((total, { requests }) => total + requests, 0))
        let failures = 0
        for (const { body, path, status, what } of [...unsupported, ...poisonous, ...refused]) {
          const before = yield* sum
          for (let i = 0; i < 9; i++) {
            const answer = yield* post(url + path, body)
            assert.strictEqual(answer.status, status, `${what}: ${answer.text}`)
            assert.nestedPropertyVal(answer.json, "error.code", status, `${what}: the engine's own answer passes`)
            assert.strictEqual(answer.headers.get("x-weir-attempts"), String(attemptsOf(status)), what)
            const isFinal = status === 501 || attemptsOf(status) > 1
            assert.strictEqual(answer.headers.get("x-should-retry"), isFinal ? "false" : null, what)
          }
          assert.strictEqual((yield* sum) - before, 9 * attemptsOf(status), what)
          if (status === 500) failures += 9 * count
          assert.strictEqual(
            yield* failuresSaid(engines, failures),
            failures,
            `${what}: each engine is asked once a time`
          )
          yield* served(url, what)
          const ready = yield* ask(`${url}/readyz`)
          assert.deepStrictEqual([ready.status, ready.text.includes(`"healthy":${count},`)], [200, true], what)
        }
        for (const { circuit, failures, health } of yield* standings(url)) {
          assert.deepStrictEqual({ circuit, failures, health }, { circuit: "closed", failures: 0, health: "healthy" })
        }
        assert.isFalse(stderr.some((line) => line.includes("circuit opens")))
      }),
    120_000
  )
})

describe("an SDK with its retries as they come", () => {
  it.live("sends an image to two real llama-servers once, since the gateway has asked both", () =>
    Effect.gen(function* () {
      const { engines, url } = yield* engineGateway(2)
      const client = new OpenAI({ apiKey: "none", baseURL: `${url}/v1` })
      const send = client.chat.completions.create({
        model: "tiny",
        messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: dataUrl } }] }]
      })
      const error: unknown = yield* Effect.promise(() => send.catch((reason: unknown) => reason))
      assert.propertyVal(error, "status", 500)
      assert.match(String(error), /image input is not supported/)
      assert.strictEqual(yield* failuresSaid(engines, 2), 2)
      yield* served(url, "an image")
    })
  )
})
