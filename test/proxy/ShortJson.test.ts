import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { endpointAt } from "../../src/domain/Endpoint.ts"
import { readEnvelope } from "../../src/proxy/Envelope.ts"
import { shortened } from "../../src/proxy/ShortJson.ts"
import { holdsFor } from "../Property.ts"
import { type Json, styles, write } from "./JsonText.ts"

const parsed = (text: string | undefined): unknown => {
  if (text === undefined) return invalid
  try {
    return JSON.parse(text)
  } catch {
    return invalid
  }
}

const invalid = Symbol("not JSON")

/** Never left out, or always, however they are spelled: at most six bytes for a unit, and at least one. */
const shortText = fc.string({ unit: "binary", maxLength: 40 })
const longText = fc.string({ unit: "binary", minLength: 257, maxLength: 400 })

const message = fc.record({ role: shortText, content: fc.oneof(shortText, longText), name: shortText })

const members = fc
  .record({ model: fc.oneof(shortText, longText), user: longText, messages: fc.array(message, { maxLength: 4 }) })
  .map((record): ReadonlyArray<readonly [string, Json]> => Object.entries(record))

describe("a large body", () => {
  it("keeps its shape: only long texts inside of messages are empty", () => {
    holdsFor(fc.tuple(members, styles), ([entries, style]) => {
      const { text } = write(entries, style)
      const whole: unknown = JSON.parse(text)
      const expected: unknown = JSON.parse(
        JSON.stringify(whole, (key, value: unknown) =>
          key === "content" && typeof value === "string" && value.length > 256 ? "" : value
        )
      )
      assert.deepStrictEqual(parsed(shortened(Buffer.from(text, "utf8"))), expected)
    })
  })

  const broken = ["", '"', "\\", "\\u", "\\x", "\n", "\u0000", "{", "}", "[", "]", ",", ":", "u", "é", "\u{1f600}"]

  it("is valid without its long texts exactly if it was valid with them", () => {
    const breaks = fc.tuple(members, styles, fc.nat(), fc.nat(3), fc.constantFrom(...broken))
    const seen = { valid: 0, invalid: 0 }
    holdsFor(
      breaks,
      ([entries, style, position, removed, put]) => {
        const { text } = write(entries, style)
        const at = position % text.length
        const bytes = Buffer.from(text.slice(0, at) + put + text.slice(at + removed), "utf8")
        const isValid = parsed(bytes.toString("utf8")) !== invalid
        seen[isValid ? "valid" : "invalid"]++
        assert.strictEqual(parsed(shortened(bytes)) !== invalid, isValid)
      },
      2000
    )
    assert.isAbove(Math.min(seen.valid, seen.invalid), 200)
  })

  it("is read to the same end as a small one, and can be had as a whole", () => {
    const endpoint = endpointAt("/v1/chat/completions")
    assert.isDefined(endpoint)
    const content = 'he said "no",\n'.repeat(5000)
    const body = { messages: [{ role: "system", content }], model: "m", stream: true, n: 2, max_tokens: 7, user: "u" }
    const envelope = readEnvelope(endpoint, Buffer.from(JSON.stringify(body)))
    if (!("model" in envelope)) return assert.fail(envelope.message)
    assert.deepInclude(envelope, { model: "m", stream: true, choices: 2 })
    assert.deepStrictEqual(envelope.fields, { ...body, messages: [{ role: "system", content: "" }] })
    assert.deepStrictEqual(envelope.whole(), body)
  })

  it.each([
    ["a line break in a text", `{"model":"m","messages":[{"content":"${"x".repeat(40_000)}\n"}]}`],
    ["an escape that is none", `{"model":"m","messages":[{"content":"${"x".repeat(40_000)}\\x"}]}`],
    ["a text without an end", `{"model":"m","messages":[{"content":"${"x".repeat(40_000)}`],
    ["half an escape at its end", `{"model":"m","messages":[{"content":"${"x".repeat(40_000)}\\u12"}]}`]
  ])("with %s is refused as invalid JSON", (_, text) => {
    const endpoint = endpointAt("/v1/chat/completions")
    assert.isDefined(endpoint)
    const error = readEnvelope(endpoint, Buffer.from(text))
    assert.isTrue("code" in error && error.code === "invalid_json")
  })

  it("that names its model twice is refused, wherever the second one stands", () => {
    const endpoint = endpointAt("/v1/chat/completions")
    assert.isDefined(endpoint)
    const filling = `"messages":[{"content":"${"x".repeat(40_000)}"}]`
    for (const text of [`{"model":"a",${filling},"model":"b"}`, `{${filling},"model":"a","mod\\u0065l":"b"}`]) {
      const error = readEnvelope(endpoint, Buffer.from(text))
      assert.isTrue("param" in error && error.param === "model")
    }
  })
})
