import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as fc from "fast-check"
import { errorCode, readCompletion, StreamReader } from "../../src/bench/AnswerReader.ts"
import { holdsFor } from "../Property.ts"

const event = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`
const piece = (content: string) => event({ choices: [{ index: 0, delta: { content }, finish_reason: null }] })
const role = event({ choices: [{ index: 0, delta: { role: "assistant", content: "" }, finish_reason: null }] })
const finish = event({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })
const usage = event({ choices: [], usage: { prompt_tokens: 11, completion_tokens: 7 } })
const done = "data: [DONE]\n\n"

const bytes = (text: string) => new TextEncoder().encode(text)

/** What a reader says of pieces that come at certain times. */
const readAt = (...arrivals: ReadonlyArray<readonly [now: number, text: string]>) => {
  const reader = new StreamReader()
  for (const [now, text] of arrivals) reader.feed(bytes(text), now)
  return reader.end()
}

describe("a streamed answer", () => {
  it("has its first token when the first text comes, not with the head or the role before it", () => {
    const read = readAt(
      [100, role],
      [140, piece("Hi")],
      [150, piece(" there")],
      [175, piece("!")],
      [176, finish + done]
    )
    assert.deepStrictEqual(
      read,
      Result.succeed({ firstAt: 140, gaps: [10, 25], tokens: { prompt: 0, completion: 3, counted: false } })
    )
  })

  it("has as many tokens as the engine counted, where it did", () => {
    const read = readAt([1, piece("Hi")], [2, finish + usage + done])
    assert.deepStrictEqual(
      Result.map(read, ({ tokens }) => tokens),
      Result.succeed({ prompt: 11, completion: 7, counted: true })
    )
  })

  it("counts reasoning and the pieces of a call as text", () => {
    const deltas = [{ reasoning_content: "hm" }, { reasoning: "hm" }, { tool_calls: [{ index: 0 }] }, { content: "so" }]
    const read = readAt(...deltas.map((delta, at) => [at, event({ choices: [{ delta }] })] as const), [9, done])
    assert.deepStrictEqual(
      Result.map(read, ({ tokens }) => tokens.completion),
      Result.succeed(4)
    )
  })

  it("is no answer when it was cut", () => {
    assert.deepStrictEqual(readAt([1, piece("Hi")]), Result.fail("the stream was cut"))
    assert.deepStrictEqual(readAt(), Result.fail("the stream was cut"))
  })

  it("is no answer when it told of an error, even if it went on to its end", () => {
    const error = event({ error: { message: "gone", code: "upstream_truncated" } })
    assert.deepStrictEqual(readAt([1, piece("Hi") + error + done]), Result.fail("stream error upstream_truncated"))
    assert.deepStrictEqual(readAt([1, event({ error: { message: "gone" } })]), Result.fail("stream error"))
  })

  it("is no answer when an event in it is none of a chat completion", () => {
    const fault = Result.fail("an event is no chunk of a chat completion")
    assert.deepStrictEqual(readAt([1, "data: {half\n\n" + finish + done]), fault)
    assert.deepStrictEqual(readAt([1, event({ choices: 3 }) + done]), fault)
  })

  it("is read the same wherever its bytes are cut", () => {
    const whole = bytes(role + piece("größer 🙂") + ": ping\r\n\r\n" + piece("b") + finish + usage + done)
    holdsFor(fc.array(fc.nat(whole.length), { maxLength: 20 }), (places) => {
      const reader = new StreamReader()
      const cuts = [0, ...places.toSorted((a, b) => a - b), whole.length]
      for (const [index, from] of cuts.slice(0, -1).entries()) reader.feed(whole.subarray(from, cuts[index + 1]), 5)
      const expected = { firstAt: 5, gaps: [0], tokens: { prompt: 11, completion: 7, counted: true } }
      assert.deepStrictEqual(reader.end(), Result.succeed(expected))
    })
  })
})

describe("a whole answer", () => {
  it("has the tokens that the engine counted", () => {
    const body = JSON.stringify({ choices: [{}], usage: { prompt_tokens: 3, completion_tokens: 5 } })
    assert.deepStrictEqual(readCompletion(body), Result.succeed({ prompt: 3, completion: 5, counted: true }))
    assert.deepStrictEqual(
      readCompletion('{"choices":[]}'),
      Result.succeed({ prompt: 0, completion: 0, counted: false })
    )
  })

  it("is told apart from something else that came with 200", () => {
    for (const body of ["<html>", "{}", "null"]) {
      assert.deepStrictEqual(readCompletion(body), Result.fail("the answer is no chat completion"))
    }
  })
})

describe("an error's code", () => {
  it("is taken from OpenAI's form and can steer no terminal", () => {
    assert.strictEqual(errorCode('{"error":{"message":"no","code":"queue_full"}}'), "queue_full")
    assert.strictEqual(errorCode('{"error":{"code":429}}'), "429")
    assert.strictEqual(errorCode('{"error":{"code":"\\u001b[31mred"}}'), "?[31mred")
    for (const body of ['{"error":{"code":null}}', '{"error":"no"}', "oops"]) assert.isUndefined(errorCode(body))
  })
})
