import { assert, describe, it } from "@effect/vitest"
import { readFirstUsage, readUsage } from "../../src/protocol/Usage.ts"

const usageOf = (text: string) => readUsage(Buffer.from(text, "utf8"))

describe("the usage in an answer", () => {
  it("is read in OpenAI's form and in Anthropic's, compact or spaced", () => {
    const openai = {
      prompt_tokens: 12,
      total_tokens: 20,
      completion_tokens: 8,
      prompt_tokens_details: { cached_tokens: 4 }
    }
    const expected = { prompt: 12, completion: 8, cached: 4 }
    assert.deepStrictEqual(usageOf(JSON.stringify({ id: "x", usage: openai })), expected)
    assert.deepStrictEqual(usageOf(JSON.stringify({ usage: openai, id: "x" }, undefined, 2)), expected)
    const anthropic = { input_tokens: 12, cache_read_input_tokens: 4, output_tokens: 8 }
    assert.deepStrictEqual(usageOf(JSON.stringify({ usage: anthropic })), expected)
  })

  it("is the last one that is there, and not one that is null", () => {
    const text = '{"usage":{"prompt_tokens":1,"completion_tokens":2}}\n{"usage":{"prompt_tokens":3}}\n{"usage":null}'
    assert.deepStrictEqual(usageOf(text), { prompt: 3, completion: 0, cached: 0 })
    assert.deepStrictEqual(readFirstUsage(Buffer.from(`{"usage":null}${text}`)), {
      prompt: 1,
      completion: 2,
      cached: 0
    })
  })

  it("is not there where only the text speaks of it", () => {
    assert.isUndefined(usageOf(JSON.stringify({ content: '"usage":{"prompt_tokens":1}', usage: null })))
    assert.isUndefined(usageOf('{"token":"usage","next":{"prompt_tokens":1}}'))
    assert.isUndefined(usageOf(""))
    assert.isUndefined(readFirstUsage(Buffer.from('{"token":"usage"}')))
  })

  it("has no number that was cut in its middle", () => {
    assert.deepStrictEqual(usageOf('{"usage":{"prompt_tokens":12,"completion_tokens":34'), {
      prompt: 12,
      completion: 0,
      cached: 0
    })
  })
})
