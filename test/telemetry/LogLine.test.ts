/** Whatever comes from outside: a line is short, it is one line, and nothing in it acts on a terminal. */
import { assert, describe, it } from "@effect/vitest"
import { jsonLine, prettyLine } from "../../src/telemetry/LogLine.ts"
import { maxValueChars } from "../../src/telemetry/PlainText.ts"
import { maxLineChars, redact } from "../../src/telemetry/Redaction.ts"
import { holdsFor } from "../Property.ts"
import { fc } from "../registry/Properties.ts"

const forms = { json: jsonLine, pretty: prettyLine }

/** What acts instead of being seen, beside the line's own end. */
const acting = /[\p{Cc}\p{Cs}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/u

const fieldsOf = (fields: Record<string, unknown>): object => Object(redact(fields))

const hostile = {
  "the escape that begins a terminal's commands": "\u001b[2J\u001b]0;owned\u0007",
  "line breaks": "one\r\n00:00:00.000 INFO forged\n",
  "DEL and C1, one of which is a CSI": "\u007f\u0080\u0085\u009b31m\u009f",
  "marks that turn the direction": "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c",
  "separators of lines and paragraphs": "a\u2028b\u2029c",
  "halves of surrogate pairs": "\ud83d x \ude00"
}

describe.each(["json", "pretty"] as const)("a %s line", (form) => {
  const line = (message: string, fields: Record<string, unknown>) => forms[form](0, "info", message, fieldsOf(fields))

  for (const [what, text] of Object.entries(hostile)) {
    it(`shows ${what} instead of doing what they say, in message, value, name and list`, () => {
      const told = line(text, {
        plain: text.replaceAll(/\s/g, ""),
        value: text,
        [text]: 1,
        list: [text, { deep: text }]
      })
      assert.isTrue(told.endsWith("\n"))
      assert.notMatch(told.slice(0, -1), acting)
      if (form === "json") {
        const { list, message, value } = JSON.parse(told)
        assert.deepStrictEqual([message, value, list[0]], [text, text, text])
      }
    })
  }

  it("leaves text in any script, and pictures, as they are", () => {
    assert.include(line("grüße 你好 שלום 😀", { a: "👩‍🚀" }), "grüße 你好 שלום 😀")
  })

  it("cuts long values and says how long they were", () => {
    const long = "x".repeat(1_000_000)
    const told = line(long, { model: long, list: [long], deep: { a: { b: long } } })
    assert.isBelow(told.length, 4 * maxValueChars + 500)
    assert.include(told, "… (1000000 characters)")
  })

  it("is bounded however many values there are, and however they nest", () => {
    const many = Array.from({ length: 100_000 }, (_, index) => `problem ${index}`)
    const wide = Object.fromEntries(many.map((text) => [text, { text: [text, [text]] }]))
    let deep: unknown = "x"
    for (let depth = 0; depth < 10_000; depth++) deep = [deep, deep]
    for (const fields of [{ many }, wide, { map: new Map(Object.entries(wide)) }, { deep }, { set: new Set(many) }]) {
      assert.isBelow(line("x", fields).length, 4 * maxLineChars)
    }
    assert.include(line("x", { many }), "more)")
  })

  it("never cuts the half of a character, nor lets a cut show what is secret", () => {
    const told = line("x", {
      a: `${"x".repeat(maxValueChars - 1)}😀😀`,
      b: `http://${"u".repeat(maxValueChars)}:hunter2@h/`,
      [`${"k".repeat(300)}_token`]: "hunter2"
    })
    assert.notMatch(told, /\\ud83d/)
    assert.notInclude(told, "hunter2")
    assert.include(told, "<redacted>")
  })

  it("is one line of visible characters whatever is told", () => {
    const text = fc.string({
      unit: fc.oneof(
        fc.string({ unit: "binary" }),
        fc.nat(0xffff).map((unit) => String.fromCharCode(unit))
      )
    })
    holdsFor(fc.tuple(text, fc.dictionary(text, fc.oneof(text, fc.array(text), fc.integer()))), ([message, fields]) => {
      const told = line(message, fields)
      assert.isTrue(told.endsWith("\n"))
      assert.notMatch(told.slice(0, -1), acting)
      if (form === "json") assert.isObject(JSON.parse(told))
    })
  })
})

it("a value with blanks or quotes does not pass for two in a pretty line", () => {
  assert.include(prettyLine(0, "info", "m", { a: 'x" b=2', c: "x\u00a0d=3" }), String.raw`a="x\" b=2" c="x`)
})
