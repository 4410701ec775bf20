import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { field } from "../../src/sim/Json.ts"
import { at, chatBody, chatText, eventsOf, launch, parsed, postJson, type Running } from "./Harness.ts"
import { dial, parse, post } from "./RawClient.ts"

const stream = (simulator: Running, path: string, body: object) =>
  Effect.map(postJson(`${simulator.url}${path}`, { ...body, stream: true }), ({ headers, status, text }) => {
    assert.strictEqual(status, 200)
    assert.strictEqual(headers.get("content-type"), "text/event-stream")
    return eventsOf(text)
  })

const typesOf = (events: ReadonlyArray<unknown>) => events.map((event) => field(event, "type"))

describe("a streamed chat completion", () => {
  it.live("begins with the role, tells the same text as the whole answer, says why it ends, and is done", () =>
    Effect.gen(function* () {
      const simulator = yield* launch()
      const events = yield* stream(simulator, "/v1/chat/completions", chatBody("hello"))
      assert.strictEqual(events.length, 1 + 10 + 1 + 1)
      assert.deepStrictEqual(at(events, 0, "choices", 0, "delta"), { role: "assistant", content: "" })
      assert.strictEqual(at(events, 0, "object"), "chat.completion.chunk")
      assert.strictEqual(at(events, 10, "choices", 0, "finish_reason"), null)
      assert.strictEqual(at(events, 11, "choices", 0, "finish_reason"), "stop")
      assert.deepStrictEqual(at(events, 11, "choices", 0, "delta"), {})
      assert.strictEqual(events.at(-1), "[DONE]")
      assert.notProperty(events[0], "usage")
      const whole = yield* postJson(`${simulator.url}/v1/chat/completions`, chatBody("hello"))
      assert.strictEqual(chatText(events), at(parsed(whole.text), "choices", 0, "message", "content"))
    })
  )

  it.live("tells the usage in a last chunk without choices, when asked", () =>
    Effect.gen(function* () {
      const simulator = yield* launch()
      const asked = { ...chatBody("hello"), stream_options: { include_usage: true } }
      const events = yield* stream(simulator, "/v1/chat/completions", asked)
      assert.strictEqual(at(events, 0, "usage"), null)
      assert.deepStrictEqual(at(events, -2, "choices"), [])
      assert.strictEqual(at(events, -2, "usage", "completion_tokens"), 10)
      assert.strictEqual(events.at(-1), "[DONE]")
    })
  )

  it.live("carries a tool call's arguments in pieces", () =>
    Effect.gen(function* () {
      const simulator = yield* launch()
      const parameters = { type: "object", properties: { city: { type: "string", default: "Zürich 🌊" } } }
      const tools = [{ type: "function", function: { name: "weather", parameters } }]
      const events = yield* stream(simulator, "/v1/chat/completions", chatBody("a tool", { tools }))
      const call = (index: number) => at(events, index, "choices", 0, "delta", "tool_calls", 0, "function")
      assert.deepStrictEqual(call(0), { name: "weather", arguments: "" })
      const pieces = events.slice(1, -2).map((_, index) => at(call(index + 1), "arguments"))
      assert.isAbove(pieces.length, 3)
      assert.deepStrictEqual(parsed(pieces.join("")), { city: "Zürich 🌊" })
      assert.strictEqual(at(events, -2, "choices", 0, "finish_reason"), "tool_calls")
    })
  )

  it.live("interleaves its choices", () =>
    Effect.gen(function* () {
      const simulator = yield* launch()
      const events = yield* stream(simulator, "/v1/chat/completions", chatBody("hello", { n: 2 }))
      const indices = events.slice(0, 6).map((event) => at(event, "choices", 0, "index"))
      assert.deepStrictEqual(indices, [0, 1, 0, 1, 0, 1])
    })
  )

  it.live("sends each event at once, and waits for no other", () =>
    Effect.gen(function* () {
      const simulator = yield* launch()
      yield* simulator.setFaults({ kind: "stall", afterTokens: 1 })
      const connection = yield* dial(simulator.port, post("/v1/chat/completions", chatBody("x", { stream: true })))
      const first = yield* connection.until((received) => received.includes('"content":"Weir"'))
      assert.strictEqual(eventsOf(parse(first).body).length, 2)
      assert.isFalse(parse(first).complete)
    })
  )
})

describe("the other streams", () => {
  it.live("streams of a completion end like a chat's", () =>
    Effect.gen(function* () {
      const simulator = yield* launch()
      const events = yield* stream(simulator, "/v1/completions", { model: "sim-model", prompt: "x" })
      assert.strictEqual(events.length, 10 + 1 + 1)
      assert.strictEqual(at(events, 0, "object"), "text_completion")
      assert.isString(at(events, 0, "choices", 0, "text"))
      assert.strictEqual(at(events, -2, "choices", 0, "finish_reason"), "stop")
      assert.strictEqual(events.at(-1), "[DONE]")
    })
  )

  it.live("streams of a response are numbered, in OpenAI's order, and end with the whole response", () =>
    Effect.gen(function* () {
      const simulator = yield* launch({ tokens: 2 })
      const events = yield* stream(simulator, "/v1/responses", { model: "sim-model", input: "x" })
      assert.deepStrictEqual(typesOf(events), [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed"
      ])
      assert.deepStrictEqual(
        events.map((event) => field(event, "sequence_number")),
        events.map((_, index) => index)
      )
      assert.strictEqual(at(events, -1, "response", "usage", "output_tokens"), 2)
    })
  )

  it.live("streams of a message come in Anthropic's order, with the reason and the usage before the end", () =>
    Effect.gen(function* () {
      const simulator = yield* launch({ tokens: 2 })
      const events = yield* stream(simulator, "/v1/messages", chatBody("x"))
      assert.deepStrictEqual(typesOf(events), [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop"
      ])
      assert.isNumber(at(events, 0, "message", "usage", "input_tokens"))
      assert.deepStrictEqual(at(events, 5, "delta"), { stop_reason: "end_turn", stop_sequence: null })
      assert.deepStrictEqual(at(events, 5, "usage"), { output_tokens: 2 })
    })
  )
})

describe("the prefix cache", () => {
  it.live("tells how much of a repeated prompt was remembered", () =>
    Effect.gen(function* () {
      const simulator = yield* launch()
      const ask = (content: string) =>
        Effect.map(postJson(`${simulator.url}/v1/chat/completions`, chatBody(content)), ({ text }) =>
          at(parsed(text), "usage", "prompt_tokens_details", "cached_tokens")
        )
      const long = "a long preamble ".repeat(20)
      assert.strictEqual(yield* ask(`${long} one`), 0)
      assert.isAbove(Number(yield* ask(`${long} two`)), 64)
      yield* simulator.reset({ cache: true })
      assert.strictEqual(yield* ask(`${long} one`), 0)
    })
  )
})
