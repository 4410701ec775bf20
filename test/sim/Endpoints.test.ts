import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { askJson as ask, at, chatBody, onSimulator, parsed, postJson } from "./Harness.ts"

describe("a chat completion", () => {
  it.live("has OpenAI's shape, and tells its usage", () =>
    Effect.gen(function* () {
      const { json, status } = yield* ask("/v1/chat/completions", chatBody("hello"))
      assert.strictEqual(status, 200)
      assert.strictEqual(at(json, "object"), "chat.completion")
      assert.strictEqual(at(json, "model"), "sim-model")
      assert.strictEqual(at(json, "choices", 0, "message", "role"), "assistant")
      assert.isString(at(json, "choices", 0, "message", "content"))
      assert.strictEqual(at(json, "choices", 0, "finish_reason"), "stop")
      assert.deepStrictEqual(at(json, "usage"), {
        prompt_tokens: 10,
        completion_tokens: 10,
        total_tokens: 20,
        prompt_tokens_details: { cached_tokens: 0 }
      })
    })
  )

  it.live("ends with length where the client's limit is lower than the model's wish", () =>
    Effect.gen(function* () {
      for (const limit of ["max_tokens", "max_completion_tokens"]) {
        const { json } = yield* ask("/v1/chat/completions", chatBody("hello", { [limit]: 3 }))
        assert.strictEqual(at(json, "choices", 0, "finish_reason"), "length")
        assert.strictEqual(at(json, "usage", "completion_tokens"), 3)
      }
    })
  )

  it.live("has as many choices as asked for, each its own", () =>
    Effect.gen(function* () {
      const { json } = yield* ask("/v1/chat/completions", chatBody("hello", { n: 3 }))
      const texts = [0, 1, 2].map((index) => at(json, "choices", index, "message", "content"))
      assert.strictEqual(new Set(texts).size, 3)
      assert.strictEqual(at(json, "usage", "completion_tokens"), 30)
    })
  )

  it.live("takes content in parts, and null where OpenAI's clients send it", () =>
    Effect.gen(function* () {
      const { status } = yield* ask("/v1/chat/completions", {
        model: "sim-model",
        stream: null,
        max_tokens: null,
        messages: [
          { role: "assistant", content: null },
          {
            role: "user",
            content: [
              { type: "text", text: "hi" },
              { type: "image_url", image_url: { url: "data:," } }
            ]
          }
        ]
      })
      assert.strictEqual(status, 200)
    })
  )
})

describe("the other generating endpoints", () => {
  it.live("answer a completion, one choice for each prompt", () =>
    Effect.gen(function* () {
      const { json } = yield* ask("/v1/completions", { model: "sim-model", prompt: ["one", "two"] })
      assert.strictEqual(at(json, "object"), "text_completion")
      assert.isString(at(json, "choices", 0, "text"))
      assert.strictEqual(at(json, "choices", 1, "finish_reason"), "stop")
      assert.strictEqual(at(json, "choices", 2), undefined)
      const tokens = yield* ask("/v1/completions", { model: "sim-model", prompt: [1, 2, 3] })
      assert.strictEqual(tokens.status, 200)
    })
  )

  it.live("answer a response, with the usage under its own names", () =>
    Effect.gen(function* () {
      const { json } = yield* ask("/v1/responses", { model: "sim-model", input: "hello", max_output_tokens: 4 })
      assert.strictEqual(at(json, "object"), "response")
      assert.strictEqual(at(json, "status"), "incomplete")
      assert.isString(at(json, "output", 0, "content", 0, "text"))
      assert.strictEqual(at(json, "usage", "output_tokens"), 4)
      assert.strictEqual(at(json, "usage", "input_tokens_details", "cached_tokens"), 0)
      const list = yield* ask("/v1/responses", { model: "sim-model", input: [{ role: "user", content: "hi" }] })
      assert.strictEqual(at(list.json, "status"), "completed")
    })
  )

  it.live("answer a message in Anthropic's shape", () =>
    Effect.gen(function* () {
      const { json } = yield* ask("/v1/messages", chatBody("hello", { max_tokens: 5, system: "be brief" }))
      assert.strictEqual(at(json, "type"), "message")
      assert.strictEqual(at(json, "content", 0, "type"), "text")
      assert.strictEqual(at(json, "stop_reason"), "max_tokens")
      assert.strictEqual(at(json, "usage", "output_tokens"), 5)
      assert.strictEqual(at(json, "usage", "cache_read_input_tokens"), 0)
    })
  )
})

describe("embeddings", () => {
  const vector = (json: unknown, index: number) => at(json, "data", index, "embedding")

  it.live("are unit vectors that depend on the text alone, as numbers or as base64", () =>
    onSimulator((simulator) =>
      Effect.gen(function* () {
        const embed = (more: object) =>
          Effect.map(
            postJson(`${simulator.url}/v1/embeddings`, { model: "sim-model", input: ["a", "b", "a"], ...more }),
            ({ text }) => parsed(text)
          )
        const json = yield* embed({})
        assert.deepStrictEqual(vector(json, 0), vector(json, 2))
        assert.notDeepEqual(vector(json, 0), vector(json, 1))
        const numbers = vector(json, 0)
        assert.isTrue(Array.isArray(numbers) && numbers.length === 64)
        const coded = yield* embed({ encoding_format: "base64" })
        const bytes = Buffer.from(String(vector(coded, 0)), "base64")
        const floats = Array.from({ length: 64 }, (_, index) => bytes.readFloatLE(index * 4))
        assert.deepStrictEqual(floats, numbers)
        assert.closeTo(Math.hypot(...floats), 1, 1e-6)
        assert.deepStrictEqual(at(json, "usage"), { prompt_tokens: 4, total_tokens: 4 })
        const small = yield* embed({ dimensions: 3 })
        assert.strictEqual(at(vector(small, 0), -1), at(vector(small, 0), 2))
      })
    )
  )
})

describe("rerank and score", () => {
  const documents = ["cats purr", "the weir holds the water back", "water"]

  it.live("put the documents that share words with the query first", () =>
    Effect.gen(function* () {
      const body = { model: "sim-model", query: "the water of the weir", documents, top_n: 2 }
      const { json } = yield* ask("/v1/rerank", body)
      assert.strictEqual(at(json, "results", 0, "index"), 1)
      assert.strictEqual(at(json, "results", 0, "document", "text"), documents[1])
      assert.strictEqual(at(json, "results", 2), undefined)
      const again = yield* ask("/v1/rerank", body)
      assert.deepStrictEqual(at(again.json, "results"), at(json, "results"))
    })
  )

  it.live("score one text against many", () =>
    Effect.gen(function* () {
      const { json } = yield* ask("/v1/score", { model: "sim-model", text_1: "water", text_2: documents })
      assert.strictEqual(at(json, "data", 1, "object"), "score")
      assert.isAbove(Number(at(json, "data", 2, "score")), Number(at(json, "data", 0, "score")))
    })
  )
})

describe("tokenize and detokenize", () => {
  it.live("undo each other, under both of their paths", () =>
    Effect.gen(function* () {
      for (const prefix of ["", "/v1"]) {
        const cut = yield* ask(`${prefix}/tokenize`, { model: "sim-model", prompt: "Grüße, Welt" })
        assert.strictEqual(at(cut.json, "count"), 4)
        const joined = yield* ask(`${prefix}/detokenize`, { tokens: at(cut.json, "tokens") })
        assert.strictEqual(at(joined.json, "prompt"), "Grüße, Welt")
      }
    })
  )
})
