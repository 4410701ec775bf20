import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { fingerprintText, makeRandom } from "../../src/sim/Random.ts"
import { countTokens, detokenize, promptOf, tokenize } from "../../src/sim/Tokens.ts"
import { cutIntoTokens, writeTokens } from "../../src/sim/TokenText.ts"

describe("the tokenizer", () => {
  it.prop("gives back the text that it was given", [Schema.String], ([text]) => {
    // A lone surrogate has no UTF-8, so no tokenizer could keep it.
    if (!text.isWellFormed()) return
    assert.strictEqual(detokenize(tokenize(text)), text)
  })

  it("makes about one token of four characters", () => {
    assert.strictEqual(countTokens("twelve chars"), 3)
    assert.strictEqual(tokenize("twelve chars").length, 3)
  })

  it("answers numbers that no text gives rise to with replacement characters", () => {
    assert.strictEqual(detokenize([257]), "\ufffd")
  })
})

describe("a prompt's blocks", () => {
  it("are equal exactly as long as all text before them is equal", () => {
    const one = promptOf("a".repeat(64) + "b".repeat(64) + "c".repeat(10))
    const other = promptOf("a".repeat(64) + "x".repeat(64))
    const shifted = promptOf("z".repeat(64) + "b".repeat(64))
    assert.strictEqual(one.blocks.length, 2)
    assert.strictEqual(one.blocks[0], other.blocks[0])
    assert.notStrictEqual(one.blocks[1], other.blocks[1])
    assert.notStrictEqual(one.blocks[1], shifted.blocks[1])
  })
})

describe("what the model says", () => {
  it("is the same for the same seed, and something else for another", () => {
    assert.deepStrictEqual(writeTokens(7, 40), writeTokens(7, 40))
    assert.notDeepEqual(writeTokens(7, 40), writeTokens(8, 40))
  })

  it("is cut into tokens that make the same text again", () => {
    const text = '{"city":"Zürich 🌊🌊🌊","days":1}'
    assert.strictEqual(cutIntoTokens(text).join(""), text)
  })
})

describe("random", () => {
  it("is even, and the same for a seed", () => {
    const random = makeRandom(3)
    const draws = Array.from({ length: 10_000 }, random)
    const mean = draws.reduce((sum, draw) => sum + draw, 0) / draws.length
    assert.isTrue(draws.every((draw) => draw >= 0 && draw < 1))
    assert.closeTo(mean, 0.5, 0.02)
    const again = makeRandom(3)
    assert.deepStrictEqual(Array.from({ length: 10_000 }, again), draws)
    assert.notStrictEqual(fingerprintText("a", 1), fingerprintText("b", 1))
  })
})
