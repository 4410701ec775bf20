import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as fc from "fast-check"
import { literalName, ModelRule } from "../../src/domain/ModelRule.ts"
import { ModelRules } from "../../src/routing/ModelRules.ts"
import { holdsFor } from "../Property.ts"

const ruleOf = Schema.decodeUnknownSync(ModelRule)

const rulesOf = (...matches: ReadonlyArray<string>) => matches.map((match) => ruleOf({ match }))

describe("the rule of a model", () => {
  it("is the first that matches its whole name, however often it is asked for", () => {
    const rules = new ModelRules(rulesOf("gpt", "gpt-oss:20b-64k.*", "gpt-.*", "q(?i)WEN"))
    const expected = {
      gpt: "gpt",
      "gpt-oss:20b-64k": "gpt-oss:20b-64k.*",
      "gpt-oss:20b-64k-high": "gpt-oss:20b-64k.*",
      "gpt-oss:20b": "gpt-.*",
      qwen: "q(?i)WEN",
      Qwen: undefined,
      "my-gpt-4": undefined,
      "gpt\n": undefined,
      "": undefined
    }
    for (let round = 0; round < 3; round++) {
      for (const [name, match] of Object.entries(expected)) assert.strictEqual(rules.find(name)?.match, match, name)
    }
  })

  it("is what trying one expression after the other finds, for any rules and any names", () => {
    const word = fc.string({ unit: fc.constantFrom("a", "b", "-"), maxLength: 4 })
    const expression = fc
      .array(fc.constantFrom("a", "b", "-", ".", "a*", "b+", "[ab]", "(a|b)", "-?", ".*"), {
        minLength: 1,
        maxLength: 4
      })
      .map((pieces) => pieces.join(""))
    holdsFor(
      fc.tuple(fc.array(expression, { maxLength: 5 }), fc.array(word, { maxLength: 8 })),
      ([matches, names]) => {
        const rules = new ModelRules(rulesOf(...matches))
        for (const name of [...names, ...names]) {
          assert.strictEqual(
            rules.find(name)?.match,
            matches.find((match) => new RegExp(`^(?:${match})$`, "s").test(name)),
            `${name} among ${matches.join("  ")}`
          )
        }
      },
      1000
    )
  })

  it.each(["(a+)+$", "(a|aa)+", "(a*)*b", "(.*a){12}", "(a|a?)+c", "([a-z]+)*-x"])(
    "is found at once, though %s would keep others busy for ever",
    { timeout: 4000 },
    (match) => {
      const rules = new ModelRules(rulesOf(match))
      rules.find(`${"a".repeat(100_000)}!`)
      for (let i = 0; i < 100; i++) assert.isUndefined(rules.find(`${"a".repeat(200)}${i}!`))
    }
  )

  it("is right after more names than can be remembered, long ones and those of prototypes", () => {
    const rules = new ModelRules(rulesOf("m-\\d+", "__proto__|x+"))
    for (let i = 0; i < 10_000; i++) assert.strictEqual(rules.find(`m-${i}`)?.match, "m-\\d+")
    for (let i = 0; i < 10_000; i++) assert.isUndefined(rules.find(`n-${i}`))
    assert.strictEqual(rules.find("m-3")?.match, "m-\\d+")
    assert.strictEqual(rules.find("__proto__")?.match, "__proto__|x+")
    assert.isUndefined(rules.find("constructor"))
    for (let i = 0; i < 3; i++) assert.strictEqual(rules.find("x".repeat(1000))?.match, "__proto__|x+")
  })

  it("is none for what is longer than any model's name, so that no client keeps the expressions busy", () => {
    const rules = new ModelRules(Array.from({ length: 1000 }, (_, i) => ruleOf({ match: `(a|b)*${i}|.*c${i}` })))
    const name = "a".repeat(16 * 1024 * 1024)
    const begin = performance.now()
    for (let i = 0; i < 100; i++) assert.isUndefined(rules.find(name))
    assert.isBelow(performance.now() - begin, 50)
    assert.isUndefined(new ModelRules(rulesOf(".*")).find("x".repeat(1025)))
  })

  it("is none where there are no rules", () => {
    assert.isUndefined(new ModelRules([]).find("m"))
  })
})

describe("an expression", () => {
  it.each([
    ["(?=a)b", "lookahead"],
    ["(?!a)b", "negative lookahead"],
    ["(?<=a)b", "lookbehind"],
    ["(?<!a)b", "negative lookbehind"],
    ["(a)\\1", "a backreference"],
    ["(?<x>a)\\k<x>", "a named backreference"],
    ["(", "an open group"],
    ["[", "an open class"],
    ["*", "nothing to repeat"],
    ["a{2000}", "a count beyond reason"]
  ])("%s is refused, being or having %s", (match) => {
    assert.throws(() => ruleOf({ match }), /not a regular expression that can be matched in linear time/)
  })

  it.each([
    ["gpt-4o", "gpt-4o"],
    ["gpt-oss:20b", "gpt-oss:20b"],
    ["qwen2.5-72b", "qwen2.5-72b"],
    ["org/name@v1", "org/name@v1"],
    ["a\\.b", "a.b"],
    ["a\\+b", "a+b"],
    ["gpt-.*", undefined],
    ["gpt-.+", undefined],
    ["a.?", undefined],
    ["a|b", undefined],
    ["[ab]", undefined],
    ["(a)", undefined],
    ["a\\d", undefined],
    ["^a$", undefined],
    ["(?i)a", undefined],
    ["a{2}", undefined]
  ])("%s stands for the one name %s", (match, name) => {
    assert.strictEqual(literalName(match), name)
    if (name !== undefined) assert.isDefined(new ModelRules(rulesOf(match)).find(name))
  })
})
