import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as fc from "fast-check"
import { compileRegExp } from "../../src/domain/LinearRegExp.ts"
import { makePreview } from "../../src/domain/RequiredText.ts"
import { holdsFor } from "../Property.ts"

const compiled = (source: string) =>
  Result.getOrThrowWith(compileRegExp(source), (why) => new Error(`${source}: ${why}`))

/** Pieces that mean the same here and in JavaScript. */
const atoms = [
  ...Array.from("abk.-é😀"),
  "ab",
  "\\.",
  "\\+",
  "\\d",
  "\\w",
  "\\b",
  "\\n",
  "\\x41",
  "\\p{L}",
  "[ab]",
  "[^a]",
  "[\\]b]",
  "[a-k.]",
  "^",
  "$"
]

const atom = fc.constantFrom(...atoms)

const expressions: fc.Arbitrary<string> = fc.letrec<{ one: string; all: string }>((tie) => ({
  one: fc
    .tuple(
      fc.oneof(
        { weight: 4, arbitrary: atom },
        fc.tuple(fc.constantFrom("(", "(?:"), tie("all")).map(([open, all]) => `${open}${all})`)
      ),
      fc.constantFrom("", "", "", "*", "+", "?", "*?", "+?", "{2}", "{0,2}")
    )
    .map(([base, count]) =>
      /^[\^$]|^\\b/.test(base) ? base : base.length > 1 && /^[ab]/.test(base) ? base : base + count
    ),
  all: fc
    .array(tie("one"), { minLength: 1, maxLength: 4 })
    .chain((ones) => fc.constantFrom(ones.join(""), ones.join(""), ones.join("|")))
})).all

const texts = fc.string({ unit: fc.constantFrom(...Array.from("abAkK.-éÉ7 😀\n"), "ab"), maxLength: 10 })

describe("an expression", () => {
  it("matches and finds what JavaScript's would, for any expression and any text", () => {
    holdsFor(
      fc.tuple(expressions, fc.boolean(), fc.array(texts, { minLength: 1, maxLength: 8 })),
      ([source, caseless, words]) => {
        const flags = caseless ? "isu" : "su"
        const mine = compiled(caseless ? `(?i)${source}` : source)
        const whole = new RegExp(`^(?:${source})$`, flags)
        for (const word of words) {
          assert.strictEqual(mine.matchesWhole(word), whole.test(word), `${source} and ${JSON.stringify(word)}`)
          const found = new RegExp(source, flags).exec(word)
          const group = found?.slice(1).find((each) => each !== undefined)
          if (found === null) assert.isUndefined(mine.firstGroup(word), `${source} in ${JSON.stringify(word)}`)
          else if (!/[*+?}]/.test(source))
            assert.strictEqual(mine.firstGroup(word), group, `${source} in ${JSON.stringify(word)}`)
        }
      },
      1500
    )
  })

  it("finds the first of its groups that took part", () => {
    assert.strictEqual(compiled("x=(?:'([^']*)'|(\\w+))").firstGroup("a x=7"), "7")
    assert.strictEqual(compiled("x=(?:'([^']*)'|(\\w+))").firstGroup("a x='b c'"), "b c")
    assert.isUndefined(compiled("x=(?:'([^']*)'|(\\w+))").firstGroup("a y=7"))
    assert.isUndefined(compiled("x=\\w+").firstGroup("a x=7"))
  })
})

describe("what a text must hold", () => {
  it.each([
    ["gpt-.*", "gpt-4", "gpt"],
    ["model-7(-\\d+)?", "model-7", "model-8"],
    ["(?:a|b)c.*-long$", "ac-long", "ac"],
    ["a\\.b\\+", "a.b+", "ab"],
    ["abc?d+e*", "abdd", "xd"],
    ["(?i)User's name", "the USER'S NAME", "the user"],
    ["(?i)\\buser['’]?s name is:? (.+)", "uſerS NAME IS x", "a name"],
    ["ユーザーの名前は[「]", "ユーザーの名前は「", "ユーザー"],
    ["x{3}yz", "xxxyz", "xxx"],
    ["\\x41b", "Ab", undefined],
    ["a|b", "c", undefined],
    [".*", "", undefined],
    ["😀?b", "b", "😀"],
    ["(?i)k", "\u212a", "x"]
  ])("what a text must hold for %s is in %j and not in %j", (source, possible, impossible) => {
    compiled(source)
    const mayMatch = makePreview(source)
    assert.isTrue(mayMatch(possible))
    if (impossible !== undefined) assert.isFalse(mayMatch(impossible))
  })
})

describe("an expression for which others take for ever", () => {
  it.each(["(a+)+$", "(a|aa)+", "(a*)*b", "(.*a){12}", "(a|a?)+c", "(x+x+)+y"])(
    "takes no time to speak of: %s",
    (source) => {
      const expression = compiled(source)
      const text = `${"a".repeat(50_000)}!`
      const begin = performance.now()
      expression.matchesWhole(text)
      expression.firstGroup(text)
      assert.isBelow(performance.now() - begin, 3000)
    }
  )
})
