/** Which requests need a model that can call tools, and what becomes of them where the model cannot. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { needsTools } from "../../src/protocol/ToolUse.ts"
import { type Question, withGateway } from "../proxy/Harness.ts"
import { answer, type Script } from "../proxy/ScriptedTransport.ts"
import { outlineOf } from "./Outlines.ts"

const tools = [{ type: "function", function: { name: "f", parameters: {} } }]
const functions = [{ name: "f", parameters: {} }]
const call = { id: "1", type: "function", function: { name: "f", arguments: "{}" } }

const needing: ReadonlyArray<readonly [what: string, fields: object]> = [
  ["tools", { tools }],
  ["tools that must be called", { tools, tool_choice: "required" }],
  ["tools, one of which must be called", { tools, tool_choice: { type: "function", function: { name: "f" } } }],
  ["functions of the first days", { functions }],
  ["functions of the first days, to be called", { functions, function_call: { name: "f" } }],
  ["a call among its messages", { messages: [{ role: "assistant", content: null, tool_calls: [call] }] }],
  [
    "an old call among its messages",
    { messages: [{ role: "assistant", function_call: { name: "f", arguments: "{}" } }] }
  ],
  ["a tool's answer among its messages", { messages: [{ role: "tool", tool_call_id: "1", content: "7" }] }],
  ["a function's answer among its messages", { messages: [{ role: "function", name: "f", content: "7" }] }],
  [
    "a tool's answer, though none may be called now",
    { tools, tool_choice: "none", messages: [{ role: "tool", content: "7" }] }
  ],
  [
    "Anthropic's call",
    {
      messages: [
        {
          role: "assistant",
          content: [
            { type: "text", text: "x" },
            { type: "tool_use", id: "1" }
          ]
        }
      ]
    }
  ],
  [
    "Anthropic's answer of a tool",
    { messages: [{ role: "user", content: [{ type: "tool_result", tool_use_id: "1" }] }] }
  ],
  ["the responses API's call", { input: [{ type: "function_call", call_id: "1", name: "f", arguments: "{}" }] }],
  ["the responses API's output of a call", { input: [{ type: "function_call_output", call_id: "1", output: "7" }] }]
]

const content: ReadonlyArray<readonly [what: string, fields: object]> = [
  ["nothing of the kind", { messages: [{ role: "user", content: "call a tool" }] }],
  ["an empty list of tools", { tools: [], functions: [] }],
  ["tools that may not be called", { tools, tool_choice: "none" }],
  ["old functions that may not be called", { functions, function_call: "none" }],
  ["null for tools", { tools: null, tool_choice: "auto", functions: null }],
  ["an empty list of calls", { messages: [{ role: "assistant", content: "x", tool_calls: [], function_call: null }] }],
  [
    "anything at all in the wrong places",
    { messages: [null, 7, "tool", [], { role: 1, content: [null, 1] }], input: "x" }
  ]
]

describe("a request", () => {
  it.each(needing)("a request with %s needs a model that can call tools", (_, fields) => {
    assert.isTrue(needsTools(outlineOf(fields)))
  })

  it.each(content)("a request with %s needs no model that can call tools", (_, fields) => {
    assert.isFalse(needsTools(outlineOf(fields)))
  })
})

const script: Script = { a: [answer(200, "served")] }
const more = {
  models: [
    { match: "m", tools: { parser: "none" } },
    { match: "n", tools: { parser: "llama3_json" } },
    { match: "alias", upstreamModel: "n" }
  ]
}

describe("a model without tools", () => {
  const refused: ReadonlyArray<readonly [object, string]> = [
    [{ tools }, "tools"],
    [{ functions }, "functions"],
    [{ messages: [{ role: "tool", content: "7" }] }, "messages"]
  ]
  it.effect.each(refused)("refuses %j before a backend is asked, a limit taken or a place", ([body, param]) =>
    withGateway(
      { script, more: { ...more, keys: [{ name: "k", key: "secret", limits: { requestsPerMinute: 1 } }] } },
      (gateway) =>
        Effect.gen(function* () {
          for (let i = 0; i < 3; i++) {
            const error = yield* gateway.refusal({ body, key: "k" })
            assert.deepStrictEqual([error.status, error.code, error.param], [400, "tools_not_supported", param])
          }
          assert.strictEqual((yield* gateway.ask({ key: "k" })).text, "served", "nothing was used up")
          assert.strictEqual(gateway.transport.exchanges.length, 1)
        })
    )
  )

  const served: ReadonlyArray<readonly [what: string, question: Question]> = [
    ["without tools", {}],
    ["for a model that can", { body: { model: "n", tools } }],
    ["for a model of which nothing is said", { body: { model: "alias", tools } }],
    ["that is passed through by path", { path: "/v1/other", body: { tools } }]
  ]
  it.effect.each(served)("is no matter for a request %s", ([, question]) =>
    withGateway({ script, backends: { a: { models: ["m", "n"] } }, more }, (gateway) =>
      Effect.gen(function* () {
        assert.strictEqual((yield* gateway.ask(question)).status, 200)
      })
    )
  )
})
