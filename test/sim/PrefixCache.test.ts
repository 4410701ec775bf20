import { assert, describe, it } from "@effect/vitest"
import { makePrefixCache } from "../../src/sim/PrefixCache.ts"
import { promptOf } from "../../src/sim/Tokens.ts"

const prompt = (letters: string) =>
  promptOf(
    Array.from(letters)
      .map((letter) => letter.repeat(64))
      .join("")
  )

describe("the prefix cache", () => {
  it("remembers what two prompts have in common, in whole blocks", () => {
    const cache = makePrefixCache(1000)
    assert.strictEqual(cache.match(prompt("abc")), 0)
    cache.store(prompt("abc"))
    assert.strictEqual(cache.match(prompt("abd")), 32)
    assert.strictEqual(cache.match(prompt("xbc")), 0)
  })

  it("leaves the last token of a prompt to be computed", () => {
    const cache = makePrefixCache(1000)
    cache.store(prompt("ab"))
    assert.strictEqual(cache.match(prompt("ab")), 16)
  })

  it("never holds more than its capacity, and forgets what was used least recently", () => {
    const cache = makePrefixCache(64)
    cache.store(prompt("ab"))
    cache.store(prompt("cd"))
    cache.match(prompt("abz"))
    cache.store(prompt("ef"))
    assert.strictEqual(cache.heldTokens(), 64)
    assert.strictEqual(cache.match(prompt("abz")), 32)
    assert.strictEqual(cache.match(prompt("cdz")), 0)
  })

  it("keeps the beginning of a prompt that is longer than the cache", () => {
    const cache = makePrefixCache(32)
    cache.store(prompt("abcd"))
    assert.strictEqual(cache.match(prompt("abz")), 32)
  })

  it("holds nothing when it is off", () => {
    const cache = makePrefixCache(0)
    cache.store(prompt("abc"))
    assert.strictEqual(cache.match(prompt("abc")), 0)
  })
})
