import { assert, describe, it } from "@effect/vitest"
import type { Dialect } from "../../src/protocol/Endpoint.ts"
import { errorEvent } from "../../src/protocol/StreamError.ts"

const textOf = (dialect: Dialect, atLineEnd = true) =>
  Buffer.from(errorEvent(dialect, "upstream_truncated", atLineEnd)).toString("utf8")

/** Events as a client reads them: a name, and lines of data joined. */
const eventsOf = (text: string) =>
  text
    .split(/\r?\n\r?\n/)
    .map((block) => ({
      name: /^event: ?(.*)$/m.exec(block)?.[1],
      data: [...block.matchAll(/^data: ?(.*)$/gm)].map(([, data]) => data).join("\n")
    }))
    .filter(({ data }) => data !== "")

const dataOf = (text: string): unknown => JSON.parse(eventsOf(text).at(-1)?.data ?? "")

describe("the event that says that a stream was cut", () => {
  const message = "The backend broke off before the end of its answer. What was received is not complete."

  it("is an error in OpenAI's form on chat streams", () => {
    const error = { message, type: "server_error", param: null, code: "upstream_truncated" }
    assert.deepStrictEqual(dataOf(textOf("chat")), { error })
    assert.isUndefined(eventsOf(textOf("chat"))[0]?.name)
  })

  it("is a named error event in Anthropic's form on streams of messages", () => {
    const error = { message, type: "api_error", param: null, code: "upstream_truncated" }
    assert.deepStrictEqual(dataOf(textOf("messages")), { type: "error", error })
    assert.strictEqual(eventsOf(textOf("messages"))[0]?.name, "error")
  })

  it("is a named error event with its code on streams of responses", () => {
    const [event] = eventsOf(textOf("responses"))
    assert.strictEqual(event?.name, "error")
    const data = dataOf(textOf("responses"))
    assert.include(data, { type: "error", code: "upstream_truncated", message, param: null })
    assert.nestedPropertyVal(data, "error.code", "upstream_truncated")
  })

  it("is a line of its own in Ollama's form", () => {
    for (const [before, atLineEnd] of [
      ["", true],
      ['{"a":1}\n', true],
      ['{"a":', false]
    ] as const) {
      const lines = (before + textOf("ollama", atLineEnd)).split("\n")
      assert.strictEqual(lines.pop(), "")
      assert.deepStrictEqual(JSON.parse(lines.pop() ?? ""), { error: message })
      assert.notInclude(lines, "")
    }
  })

  it.each<Dialect>(["chat", "responses", "messages", "none"])(
    "is never followed by a [DONE] in the dialect %s",
    (dialect) => {
      assert.notInclude(textOf(dialect), "[DONE]")
      assert.match(textOf(dialect), /\n\n$/)
    }
  )

  it.each(["upstream_truncated", "upstream_timeout", "upstream_error"] as const)("names its code %s", (code) => {
    assert.nestedPropertyVal(dataOf(Buffer.from(errorEvent("chat", code, true)).toString()), "error.code", code)
  })

  it.each([
    ["behind a whole event", "data: {}\n\n", true],
    ["behind an event whose empty line is missing", "data: {}\n", true],
    ["behind a name without its data", "event: ping\n", true],
    ["in the middle of a line", 'data: {"a":', false],
    ["between the two halves of a line break", "data: {}\r", false],
    ["at the very start", "", true]
  ])("is an event of its own %s", (_, before, atLineEnd) => {
    for (const dialect of ["chat", "messages", "responses"] as const) {
      const events = eventsOf(before + textOf(dialect, atLineEnd))
      const own = textOf(dialect).trim().split("\n").at(-1)?.slice("data: ".length)
      assert.strictEqual(events.at(-1)?.data, own)
      assert.strictEqual(events.length, before.includes("data") ? 2 : 1)
    }
  })
})
