/** What is read of a body: exactly what `JSON.parse` would have given, without having been parsed. */
import { assert, describe, it } from "@effect/vitest"
import { Record } from "effect"
import * as fc from "fast-check"
import { members } from "../../src/protocol/BodyNames.ts"
import { promptFrom } from "../../src/protocol/BodyOutline.ts"
import { needsTools } from "../../src/protocol/ToolUse.ts"
import { holdsFor } from "../Property.ts"
import { type Entry, type Json, Members, styles, values, write } from "./JsonText.ts"
import { outlineOf } from "./Outlines.ts"

const record = (value: unknown): Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : {}
const list = (value: unknown): ReadonlyArray<unknown> => (Array.isArray(value) ? value : [])
const isRecord = (value: unknown): boolean => typeof value === "object" && value !== null && !Array.isArray(value)

/** What the system says in a body that was parsed. */
const systemTextsOf = (body: Record<string, unknown>): ReadonlyArray<string> => {
  const texts = (content: unknown): ReadonlyArray<string> => {
    if (typeof content === "string") return [content]
    const parts = list(content).flatMap((part) =>
      typeof record(part)["text"] === "string" ? [record(part)["text"]] : []
    )
    return parts.length === 0 ? [] : [parts.join("\n")]
  }
  const messages = list(body["messages"]).filter((message) =>
    ["system", "developer"].some((role) => record(message)["role"] === role)
  )
  return [body["system"], body["instructions"], ...messages.map((message) => record(message)["content"])].flatMap(texts)
}

/** Whether a body that was parsed needs tools. */
const needsToolsOf = (body: Record<string, unknown>): boolean => {
  const isFilled = (value: unknown) => list(value).length > 0
  const isToolPart = (part: unknown) => ["tool_use", "tool_result"].some((type) => record(part)["type"] === type)
  const isToolMessage = (message: unknown) => {
    const { content, function_call: call, role, tool_calls: calls } = record(message)
    return role === "tool" || role === "function" || isFilled(calls) || isRecord(call) || list(content).some(isToolPart)
  }
  const isToolItem = (item: unknown) =>
    ["function_call", "function_call_output"].some((type) => record(item)["type"] === type)
  return (
    (isFilled(body["tools"]) && body["tool_choice"] !== "none") ||
    (isFilled(body["functions"]) && body["function_call"] !== "none") ||
    list(body["messages"]).some(isToolMessage) ||
    list(body["input"]).some(isToolItem)
  )
}

/** Members of which each is mostly what it should be, and sometimes anything; of a name that comes twice the last counts. */
const entriesOf = (members: Readonly<Record<string, fc.Arbitrary<Json>>>): fc.Arbitrary<ReadonlyArray<Entry>> => {
  const entry = ([name, usual]: readonly [string, fc.Arbitrary<Json>]): fc.Arbitrary<Entry> =>
    fc.tuple(fc.constant(name), fc.oneof({ weight: 6, arbitrary: usual }, { weight: 1, arbitrary: values }))
  return fc.array(fc.oneof(...Object.entries(members).map(entry)), { maxLength: 7 })
}

const objectOf = (members: Readonly<Record<string, fc.Arbitrary<Json>>>): fc.Arbitrary<Json> =>
  entriesOf(members).map((entries) => new Members(entries))

const words = (...all: ReadonlyArray<string>) => fc.constantFrom<Json>(...all)
const listOf = (item: fc.Arbitrary<Json>) => fc.array(item, { maxLength: 4 })

const text = words("", "hello", "größe", "a\nb", 'quoted "x"')
const parts = listOf(objectOf({ type: words("text", "tool_use", "tool_result", "image"), text, more: values }))
const content = fc.oneof(text, parts)
const call = objectOf({ name: text })
const message = objectOf({
  role: words("system", "developer", "user", "assistant", "tool", "function"),
  content,
  tool_calls: listOf(call),
  function_call: call,
  other: values
})
const body = entriesOf({
  messages: listOf(message),
  input: fc.oneof(text, listOf(objectOf({ type: words("message", "function_call", "function_call_output") }))),
  system: content,
  instructions: text,
  tools: listOf(call),
  functions: listOf(call),
  tool_choice: words("none", "auto", "nono"),
  function_call: words("none", "auto"),
  metadata: objectOf({ user_id: text }),
  chat_template_kwargs: objectOf({ reasoning_effort: text, a: values }),
  user: text,
  stream: fc.boolean(),
  n: fc.integer(),
  prompt: fc.oneof(text, listOf(fc.oneof(fc.integer(), text))),
  größe: values
})

describe("what is read of a body", () => {
  const spelled = fc.tuple(body, styles).map(([entries, style]) => write(entries, style))

  it("is what JSON.parse finds: members, what the system says, and whether tools are needed", () => {
    const seen = { said: 0, tools: 0, none: 0 }
    holdsFor(
      spelled,
      ({ text }) => {
        const outline = outlineOf(text)
        const parsed = record(JSON.parse(text))
        const said = systemTextsOf(parsed)
        assert.deepStrictEqual(outline.systemTexts(), said)
        assert.strictEqual(needsTools(outline), needsToolsOf(parsed))
        assert.strictEqual(outline.hasEffort, "reasoning_effort" in record(parsed["chat_template_kwargs"]))
        const userId = record(parsed["metadata"])["user_id"]
        assert.strictEqual(outline.userId(100), typeof userId === "string" ? userId : undefined)
        const prompt = parsed["prompt"]
        const isMany = Array.isArray(prompt) && typeof prompt[0] !== "number"
        assert.strictEqual(outline.prompts, isMany ? list(prompt).length : 1)
        for (const name of Record.keys(members)) {
          const value = parsed[name]
          assert.strictEqual(outline.has(name), name in parsed)
          assert.strictEqual(outline.text(name, 100), typeof value === "string" ? value : undefined)
          assert.strictEqual(outline.number(name), typeof value === "number" ? value : undefined)
          assert.strictEqual(outline.isFilledList(name), list(value).length > 0)
          assert.strictEqual(outline.isTrue(name), value === true)
        }
        seen.said += said.length > 0 ? 1 : 0
        seen[needsTools(outline) ? "tools" : "none"]++
      },
      600
    )
    assert.isAbove(Math.min(seen.said, seen.tools, seen.none), 50, JSON.stringify(seen))
  })

  it("stands where it says", () => {
    holdsFor(spelled, ({ places, text }) => {
      const outline = outlineOf(text)
      for (const name of Record.keys(members)) {
        const last = places.findLast(({ key }) => key === name)
        const { end, start } = outline.span(name)
        if (last === undefined) assert.strictEqual(start, -1)
        else assert.strictEqual(outline.bytes.toString("utf8", start, end), text.slice(last.start, last.end))
      }
    })
  })

  it("is the beginning of what is long: of one text, of many parts, and of many messages", () => {
    const long = String.raw`é\n\u00e9`.repeat(100_000)
    const isBeginning = (text: string | undefined) => text !== undefined && "é\né".repeat(100_000).startsWith(text)
    const many = (message: string, count: number) =>
      outlineOf(`{"messages":[${Array.from({ length: count }, () => message).join(",")}]}`)
    for (const outline of [
      outlineOf(`{"system":"${long}"}`),
      outlineOf(`{"messages":[{"content":"${long}","role":"system"}]}`),
      outlineOf(`{"instructions":[${'{"text":""},'.repeat(100_000)}{"text":"a"}]}`),
      many(`{"role":"system","content":"${"x".repeat(1000)}"}`, 1000),
      many('{"role":"system","content":""}', 100_000)
    ]) {
      const all = outline.systemTexts()
      assert.isAtMost(all.length, 128)
      assert.isAtMost(all.join("").length, 7 * 16_384)
      assert.isAtLeast(all.join("").length + 128 * all.length, 16_384)
    }
    const outline = outlineOf(`{"user":"${long}","system":"${long}"}`)
    assert.isTrue(isBeginning(outline.text("user", 100)))
    assert.isTrue(isBeginning(outline.systemTexts()[0]))
  })
})

describe("the prompt", () => {
  it.each(["messages", "prompt", "input"])("is found under %s, wherever in the body that stands", (name) => {
    const from = (body: object) => Buffer.from(promptFrom(outlineOf(body))).toString("utf8")
    assert.strictEqual(from({ a: 1, [name]: ["x"] }), '["x"]}')
    assert.strictEqual(from({ [name]: ["x"], b: { [name]: 1 } }), `["x"],"b":{"${name}":1}}`)
    assert.strictEqual(from({ a: `"${name}":`, [name]: ["x"] }), '["x"]}')
  })

  it("is all of a body that has none under a known name", () => {
    assert.strictEqual(Buffer.from(promptFrom(outlineOf({ query: "x" }))).toString("utf8"), '{"query":"x"}')
  })
})
