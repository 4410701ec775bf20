import { createHash } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { at, chatBody, launch, parsed, postJson, type Running, send } from "./Harness.ts"

const onSimulator = <A, E>(use: (simulator: Running) => Effect.Effect<A, E>) =>
  Effect.scoped(Effect.flatMap(launch({ models: ["sim-model", "org/other"], contextTokens: 1000 }), use))

const ask = (path: string, body: unknown) =>
  onSimulator((simulator) =>
    Effect.map(postJson(`${simulator.url}${path}`, body), (answer) => ({
      status: answer.status,
      json: parsed(answer.text)
    }))
  )

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

const weather = {
  type: "function",
  function: {
    name: "weather",
    parameters: {
      type: "object",
      properties: {
        city: { type: "string" },
        unit: { enum: ["celsius", "kelvin"] },
        days: { type: "integer", minimum: 2 },
        where: { type: "array", items: { type: "object", properties: { exact: { type: "boolean" } } } }
      }
    }
  }
}

const expectedArguments = { city: "sample", unit: "celsius", days: 2, where: [{ exact: true }] }

describe("a tool call", () => {
  const callOf = (json: unknown) => at(json, "choices", 0, "message", "tool_calls", 0, "function")

  it.live("is made when the user speaks of a tool, with arguments after its schema", () =>
    Effect.gen(function* () {
      const { json } = yield* ask("/v1/chat/completions", chatBody("use a tool", { tools: [weather] }))
      assert.strictEqual(at(json, "choices", 0, "finish_reason"), "tool_calls")
      assert.strictEqual(at(json, "choices", 0, "message", "content"), null)
      assert.strictEqual(at(callOf(json), "name"), "weather")
      assert.deepStrictEqual(parsed(String(at(callOf(json), "arguments"))), expectedArguments)
    })
  )

  it.live("is made when it is forced, by name or whatever it be", () =>
    Effect.gen(function* () {
      const other = { type: "function", function: { name: "other" } }
      const forced = { type: "function", function: { name: "other" } }
      const tools = [weather, other]
      const named = yield* ask("/v1/chat/completions", chatBody("hi", { tools, tool_choice: forced }))
      assert.deepStrictEqual(callOf(named.json), { name: "other", arguments: "{}" })
      const required = yield* ask("/v1/chat/completions", chatBody("hi", { tools, tool_choice: "required" }))
      assert.strictEqual(at(callOf(required.json), "name"), "weather")
    })
  )

  it.live("is not made when nobody asks for one, or none is allowed", () =>
    Effect.gen(function* () {
      const free = yield* ask("/v1/chat/completions", chatBody("hi", { tools: [weather] }))
      assert.strictEqual(at(free.json, "choices", 0, "finish_reason"), "stop")
      const none = yield* ask("/v1/chat/completions", chatBody("a tool", { tools: [weather], tool_choice: "none" }))
      assert.strictEqual(at(none.json, "choices", 0, "finish_reason"), "stop")
    })
  )

  it.live("of a tool that was not offered is refused", () =>
    Effect.gen(function* () {
      const choice = { type: "function", function: { name: "nobody" } }
      const { json, status } = yield* ask(
        "/v1/chat/completions",
        chatBody("hi", { tools: [weather], tool_choice: choice })
      )
      assert.strictEqual(status, 400)
      assert.strictEqual(at(json, "error", "param"), "tool_choice")
    })
  )

  it.live("is a tool_use block in Anthropic's words", () =>
    Effect.gen(function* () {
      const tools = [{ name: "weather", input_schema: weather.function.parameters }]
      const { json } = yield* ask("/v1/messages", chatBody("hi", { tools, tool_choice: { type: "any" } }))
      assert.strictEqual(at(json, "stop_reason"), "tool_use")
      assert.strictEqual(at(json, "content", 0, "type"), "tool_use")
      assert.deepStrictEqual(at(json, "content", 0, "input"), expectedArguments)
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

describe("bad input", () => {
  const cases: ReadonlyArray<readonly [string, string, unknown, number, string, string | null]> = [
    ["without a model", "/v1/chat/completions", { messages: [{ role: "user" }] }, 400, "invalid_request", "model"],
    [
      "without messages",
      "/v1/chat/completions",
      { model: "sim-model", messages: [] },
      400,
      "invalid_request",
      "messages.0"
    ],
    ["of a wrong type", "/v1/chat/completions", chatBody("x", { stream: "yes" }), 400, "invalid_request", "stream"],
    ["with no tokens", "/v1/chat/completions", chatBody("x", { max_tokens: 0 }), 400, "invalid_request", "max_tokens"],
    ["that is no object", "/v1/embeddings", "text", 400, "invalid_request", null],
    ["for an unknown model", "/v1/completions", { model: "gpt-9", prompt: "x" }, 404, "model_not_found", "model"],
    ["that is too long", "/v1/chat/completions", chatBody("x".repeat(4000)), 400, "context_length_exceeded", "messages"]
  ]
  for (const [what, path, body, status, code, param] of cases) {
    it.live(`${what} is answered with ${status} ${code}`, () =>
      Effect.gen(function* () {
        const answer = yield* ask(path, body)
        assert.strictEqual(answer.status, status)
        assert.strictEqual(at(answer.json, "error", "type"), "invalid_request_error")
        assert.strictEqual(at(answer.json, "error", "code"), code)
        assert.strictEqual(at(answer.json, "error", "param"), param)
      })
    )
  }

  it.live("that is no JSON is answered with 400, whatever it is", () =>
    onSimulator((simulator) =>
      Effect.gen(function* () {
        for (const body of ['{"model":', "", "\u0000\u0001", "[".repeat(10_000)]) {
          const answer = yield* send(`${simulator.url}/v1/chat/completions`, { method: "POST", body })
          assert.strictEqual(answer.status, 400)
          assert.strictEqual(at(parsed(answer.text), "error", "code"), "invalid_json")
        }
        assert.strictEqual((yield* simulator.stats).failed, 4)
      })
    )
  )

  it.live("under /v1/messages is answered in Anthropic's form", () =>
    Effect.gen(function* () {
      const { json, status } = yield* ask("/v1/messages", { ...chatBody("x"), model: "nobody" })
      assert.strictEqual(status, 404)
      assert.strictEqual(at(json, "type"), "error")
      assert.strictEqual(at(json, "error", "type"), "not_found_error")
    })
  )

  it.live("to an unknown path is answered with 404 in OpenAI's form", () =>
    onSimulator((simulator) =>
      Effect.gen(function* () {
        for (const path of ["/", "/v1/files", "/%zz", "/v1/chat/completions/x"]) {
          const answer = yield* send(`${simulator.url}${path}`, { method: "POST" })
          assert.strictEqual(answer.status, 404)
          assert.strictEqual(at(parsed(answer.text), "error", "type"), "invalid_request_error")
          assert.strictEqual(at(parsed(answer.text), "error", "code"), "not_found")
        }
      })
    )
  )
})

describe("the echo", () => {
  it.live("tells method, path and query, headers as they came, and what the body was", () =>
    onSimulator((simulator) =>
      Effect.gen(function* () {
        const body = Buffer.alloc(3_000_000, "weir")
        const sha256 = createHash("sha256").update(body).digest("hex")
        for (const path of ["/v1/echo?a=1&a=2", "/echo/x/y%20z?q", "/echo"]) {
          const answer = yield* send(`${simulator.url}${path}`, { method: "PATCH", headers: { "X-Two": "2" }, body })
          const json = parsed(answer.text)
          assert.strictEqual(answer.status, 200)
          assert.strictEqual(at(json, "method"), "PATCH")
          assert.strictEqual(at(json, "url"), path)
          assert.deepStrictEqual(at(json, "body"), { bytes: body.length, sha256 })
          assert.include(JSON.stringify(at(json, "headers")), '["X-Two","2"]')
        }
        const plain = yield* send(`${simulator.url}/v1/echo`)
        assert.strictEqual(at(parsed(plain.text), "body", "bytes"), 0)
      })
    )
  )
})
