/** Which texts are JSON: the same that `JSON.parse` takes, in whatever slices they are read. */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { type JsonListener, JsonScanner, maxDepth } from "../../src/protocol/JsonScanner.ts"
import { holdsFor } from "../Property.ts"
import { entries, styles, write } from "./JsonText.ts"

const notInterested: JsonListener = {
  name: () => assert.fail("told of a name"),
  item: () => assert.fail("told of an item"),
  enter: () => assert.fail("told of a beginning"),
  leave: () => assert.fail("told of an end"),
  scalar: () => assert.fail("told of a value")
}

/** Reads in slices of so many bytes. */
const scan = (text: string, slice = Number.POSITIVE_INFINITY): JsonScanner => {
  const bytes = Buffer.from(text, "utf8")
  const scanner = new JsonScanner(bytes, notInterested, 0)
  for (let until = slice; scanner.run(Math.min(until, bytes.length)) && until < bytes.length; until += slice);
  return scanner
}

const isJson = (text: string): boolean => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

const slices = [Number.POSITIVE_INFINITY, 1, 2, 3, 7]

/** Whether it is JSON, which is the same in slices of any size. */
const agreed = (text: string): boolean => {
  const expected = isJson(text)
  for (const slice of slices) assert.strictEqual(scan(text, slice).isValid, expected, `in slices of ${slice}`)
  return expected
}

const broken = [
  "{",
  "}",
  "[",
  "]",
  ",",
  ":",
  '"',
  "\\",
  "u",
  "\n",
  "\u0000",
  "é",
  "\u{1f600}",
  "-",
  "+",
  ".",
  "e",
  "E",
  "0",
  "01",
  "1",
  "tru",
  "true",
  "null",
  " "
]

const texts = [
  ["0", "-0", "10", "0.0", "1.5e+10", "1E-2", "-1.25e2", "1e5", "0e0", "9".repeat(400), `0.${"0".repeat(400)}1`],
  [
    "01",
    "-",
    "-a",
    "1.",
    ".5",
    "+1",
    "1e",
    "1e+",
    "1.e1",
    "0x1",
    "1_0",
    "00",
    "-01",
    "1.2.3",
    "1e1.5",
    "Infinity",
    "NaN"
  ],
  ["true", "false", "null", "tru", "True", "nul", "nulll", "truefalse", "t", "f", "n", "undefined"],
  ['""', '"', '"a', '"\\"', '"\\u00e9"', '"\\u00g9"', '"\\u12"', '"\\x"', '"\n"', '"\t"', '"\\/"', '"\u007f"', "'a'"],
  ['"\ud83d\ude00"', '"\\ud800"', '"\u2028"', '"abc\\', '"\\u', '"\\u1', '"\\u123'],
  ["[]", "[ ]", "[1]", "[1,2]", "[1,]", "[,1]", "[,]", "[1 2]", "[", "]", "[]]", "[[]", "[}", "[1}", "[1,2,3"],
  [
    "{}",
    "{ }",
    '{"a":1}',
    '{"a":1,}',
    "{,}",
    '{"a"}',
    '{"a":}',
    '{"a" 1}',
    '{"a":1 "b":2}',
    "{a:1}",
    "{1:1}",
    '{"a":1]'
  ],
  ['{"a":1}}', '{"a"::1}', '{"a":,}', '{"":""}', '{"a":{"b":[{}]}}', '{"a":1,"a":2}', '{"a', '{"a":"b'],
  ["", " ", "\n\t\r ", " 1 ", "1 1", "[] []", "\u00a0[]", "\u000b[]", "\u000c1", "[1]\u0000", "/* */1", "[]//"]
]

describe("a text", () => {
  it.each(texts.flat())("%j is JSON here exactly if it is for JSON.parse", (text) => {
    for (const whole of [text, ` [${text}]`, `{"x":${text},"y":${text}}\n`])
      assert.strictEqual(agreed(whole), isJson(whole))
  })

  it("a text of any shape and spelling, broken anywhere, is JSON here exactly if it is for JSON.parse", () => {
    const seen = { valid: 0, invalid: 0 }
    const breaks = fc.tuple(entries, styles, fc.nat(), fc.nat(2), fc.constantFrom("", ...broken))
    holdsFor(
      breaks,
      ([members, style, position, removed, put]) => {
        const { text } = write(members, style)
        const at = position % (text.length + 1)
        seen[agreed(text.slice(0, at) + put + text.slice(at + removed)) ? "valid" : "invalid"]++
      },
      2000
    )
    assert.isAbove(Math.min(seen.valid, seen.invalid), 200)
  })

  it("a text of nothing but JSON's own signs is JSON here exactly if it is for JSON.parse", () => {
    const tokens = fc.array(
      fc.constantFrom("{", "}", "[", "]", ",", ":", '"a"', '"\\n"', "1", "-2.5e3", "true", "null", " "),
      {
        maxLength: 12
      }
    )
    let valid = 0
    holdsFor(tokens, (parts) => void (valid += agreed(parts.join("")) ? 1 : 0), 3000)
    assert.isAbove(valid, 100)
  })

  it("tells the byte at which it stops to be JSON", () => {
    assert.strictEqual(scan('{"a":1,}').at, 7)
    assert.strictEqual(scan('{"a":01}').at, 6)
    assert.strictEqual(scan('["é\n"]').at, 4)
    assert.strictEqual(scan('["\\x"]').at, 2)
    assert.strictEqual(scan("[1").at, 2)
  })
})

describe("nesting", () => {
  const nested = (levels: number, open: string, close: string) => open.repeat(levels) + close.repeat(levels)

  it.each([
    ["lists", "[", "]"],
    ["objects", '{"a":', "}"]
  ])("nesting of %s is read as deep as the bound, and stops behind it", (_, open, close) => {
    const most = open === "[" ? nested(maxDepth, open, close) : `${open.repeat(maxDepth)}1${close.repeat(maxDepth)}`
    assert.isTrue(scan(most).isValid)
    for (const slice of slices) {
      const deeper = scan(open.repeat(maxDepth + 1), slice)
      assert.isTrue(deeper.isTooDeep)
      assert.isFalse(deeper.isValid)
    }
  })

  it("is what is open at once, not how much was opened", () => {
    assert.isTrue(scan(`[${"[],{},".repeat(10_000)}[]]`).isValid)
  })
})
