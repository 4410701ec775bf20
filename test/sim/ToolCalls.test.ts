import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { askJson as ask, at, chatBody, parsed } from "./Harness.ts"

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

  it.live("is not made when none is asked for, or none is allowed", () =>
    Effect.gen(function* () {
      const free = yield* ask("/v1/chat/completions", chatBody("hi", { tools: [weather] }))
      assert.strictEqual(at(free.json, "choices", 0, "finish_reason"), "stop")
      const none = yield* ask("/v1/chat/completions", chatBody("a tool", { tools: [weather], tool_choice: "none" }))
      assert.strictEqual(at(none.json, "choices", 0, "finish_reason"), "stop")
    })
  )

  it.live("a tool call of a tool that was not offered is refused", () =>
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
