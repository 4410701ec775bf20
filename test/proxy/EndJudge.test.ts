import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import type { Dialect } from "../../src/domain/Endpoint.ts"
import { EndJudge } from "../../src/proxy/EndJudge.ts"
import { holdsFor } from "../Property.ts"
import {
  chatEvents,
  event,
  messagesEvents,
  ollamaLines,
  readPlainly,
  responsesEvents,
  type Streamed,
  split,
  streams,
  type Writing
} from "./EventStreams.ts"

const plain: Writing = { newline: "\n", lead: "data: ", spaced: false }

const judged = ({ bytes, choices, dialect }: Streamed, sizes: ReadonlyArray<number> = []) => {
  const judge = new EndJudge(dialect, choices)
  for (const piece of split(bytes, sizes)) judge.push(piece)
  return judge
}

const verdictOf = (text: string, dialect: Dialect = "chat", choices = 1) =>
  judged({ bytes: Buffer.from(text, "utf8"), dialect, choices }).verdict()

const chatStream = (writing: Writing) =>
  [
    event(chatEvents.role, writing),
    event(chatEvents.content("Hello data: [DONE]"), writing),
    event(chatEvents.finish, writing),
    event(chatEvents.usage, writing),
    event("[DONE]", writing)
  ].join("")

const messagesStream = (writing: Writing) =>
  [
    event(messagesEvents.start, writing, "message_start"),
    event(messagesEvents.delta("message_stop"), writing, "content_block_delta"),
    event(messagesEvents.ended, writing, "message_delta"),
    event(messagesEvents.stop, writing, "message_stop")
  ].join("")

const responsesStream = (writing: Writing) =>
  [
    event(responsesEvents.created, writing, "response.created"),
    event(responsesEvents.delta("response.completed"), writing, "response.output_text.delta"),
    event(responsesEvents.completed("response.completed"), writing, "response.completed")
  ].join("")

const whole: ReadonlyArray<readonly [Dialect, (writing: Writing) => string]> = [
  ["chat", chatStream],
  ["messages", messagesStream],
  ["responses", responsesStream]
]

const styles: ReadonlyArray<Writing> = [
  plain,
  { newline: "\r\n", lead: "data: ", spaced: false },
  { newline: "\n", lead: "data:", spaced: false },
  { newline: "\r\n", lead: "data:", spaced: true }
]

describe.each(whole)("a stream in the dialect %s", (dialect, make) => {
  it("is complete when all of it came, in every way of writing it", () => {
    for (const writing of styles) assert.strictEqual(verdictOf(make(writing), dialect), "complete")
  })

  it("is never complete when it was cut before its last event, at whatever byte", () => {
    for (const writing of styles) {
      const text = make(writing)
      const last =
        dialect === "chat"
          ? text.indexOf("[DONE]", text.lastIndexOf("data:")) + 6
          : text.length - 2 * writing.newline.length
      for (let size = 0; size < last; size++) {
        const bytes = Buffer.from(text, "utf8").subarray(0, size)
        const judge = judged({ bytes, dialect, choices: 1 })
        assert.isFalse(judge.saidAll, `cut at ${size}`)
        // What a chat says without its last word is enough where the connection ends in order.
        const hasReason = dialect === "chat" && bytes.includes(`"stop"}]}${writing.newline}`)
        assert.strictEqual(judge.verdict(), hasReason ? "complete" : "truncated", `cut at ${size}`)
      }
    }
  })

  it("is one that said what went wrong when the backend sent an error", () => {
    const error = {
      chat: chatEvents.error,
      messages: messagesEvents.error,
      responses: responsesEvents.error,
      ollama: {},
      none: {}
    }
    for (const writing of styles) {
      const first = make(writing).slice(
        0,
        make(writing).indexOf(writing.newline.repeat(2)) + 2 * writing.newline.length
      )
      assert.strictEqual(verdictOf(first + event(error[dialect], writing), dialect), "error_sent")
      assert.strictEqual(verdictOf(first + event("{}", writing, "error"), dialect), "error_sent")
      assert.strictEqual(verdictOf(`${first}event: error${writing.newline}`, dialect), "truncated", "half an event")
    }
  })
})

describe("a chat stream", () => {
  const finish = event(chatEvents.finish, plain)
  const role = event(chatEvents.role, plain)

  it("without its [DONE] is complete when it gave a reason to finish", () => {
    assert.strictEqual(verdictOf(role + finish), "complete")
    assert.strictEqual(verdictOf(role), "truncated")
    assert.isFalse(judged({ bytes: Buffer.from(role + finish), dialect: "chat", choices: 1 }).saidAll)
  })

  it("of several choices is complete when each of them has finished", () => {
    assert.strictEqual(verdictOf(role + finish, "chat", 2), "truncated")
    assert.strictEqual(verdictOf(role + finish + finish, "chat", 2), "complete")
    const both = event({ choices: [{ finish_reason: "stop" }, { finish_reason: "length" }] }, plain)
    assert.strictEqual(verdictOf(role + both, "chat", 2), "complete")
  })

  it("is not finished by a reason that is empty, as some engines send all the time", () => {
    assert.strictEqual(verdictOf(role + event(chatEvents.vague("hi"), plain)), "truncated")
    assert.strictEqual(verdictOf(role + event(chatEvents.vague("hi"), { ...plain, spaced: true })), "truncated")
  })

  it("is complete with a [DONE] that has no line break behind it", () => {
    assert.strictEqual(verdictOf(`${role}data: [DONE]`), "complete")
    assert.strictEqual(verdictOf(`${role}data: [DONE`), "truncated")
  })

  it("is not finished by two broken lines that would make a reason together", () => {
    const judge = new EndJudge("chat", 1)
    judge.push(Buffer.from('data: {"finish_reason":"'))
    judge.push(Buffer.from("\ndata: {}\n\n"))
    assert.strictEqual(judge.verdict(), "truncated")
  })

  it("is not ended by what a model writes", () => {
    for (const text of ["data: [DONE]", "\n\ndata: [DONE]\n\n", '"finish_reason":"stop"', '","finish_reason":"stop"']) {
      assert.strictEqual(verdictOf(role + event(chatEvents.content(text), plain)), "truncated", text)
      assert.strictEqual(verdictOf(role + event(chatEvents.tool(text), plain)), "truncated", text)
    }
  })

  it("may hold comments, keep-alives and fields of other kinds, which are no output", () => {
    const judge = judged({
      bytes: Buffer.from(`: ping\n\nid: 1\nretry: 5\n\n${role}: ping\n\n${finish}`),
      dialect: "chat",
      choices: 1
    })
    assert.strictEqual(judge.outputs, 2)
    assert.strictEqual(judge.verdict(), "complete")
    assert.strictEqual(judged({ bytes: Buffer.from(": data: x\n\n"), dialect: "chat", choices: 1 }).outputs, 0)
  })

  it("has its first output as soon as its first data begins, however slowly it comes", () => {
    const judge = new EndJudge("chat", 1)
    for (const byte of ": hello\n\ndata") judge.push(Buffer.from(byte))
    assert.strictEqual(judge.outputs, 0)
    judge.push(Buffer.from(":"))
    assert.strictEqual(judge.outputs, 1)
    judge.push(Buffer.from(" {}\n"))
    assert.strictEqual(judge.outputs, 1)
  })
})

describe("streams of other dialects", () => {
  it("are not ended by a delta that is the name of the last event", () => {
    assert.strictEqual(verdictOf(event(messagesEvents.delta("message_stop"), plain), "messages"), "truncated")
    assert.strictEqual(verdictOf(event(responsesEvents.delta("response.completed"), plain), "responses"), "truncated")
  })

  it.each(["response.completed", "response.incomplete", "response.failed"])("of responses end with %s", (type) => {
    assert.strictEqual(verdictOf(event({ response: {}, type }, plain), "responses"), "complete")
  })

  it("that are not known are complete when the connection ends in order", () => {
    assert.strictEqual(verdictOf("data: tick\n\n", "none"), "complete")
    assert.isFalse(judged({ bytes: Buffer.from("data: tick\n\n"), dialect: "none", choices: 1 }).saidAll)
  })
})

describe("where a stream stands", () => {
  it("is at the start of a line only behind a line break", () => {
    const standsAtStart = (text: string) => judged({ bytes: Buffer.from(text), dialect: "chat", choices: 1 }).atLineEnd
    assert.isTrue(standsAtStart(""))
    assert.isTrue(standsAtStart("data: x\n"))
    assert.isTrue(standsAtStart("data: x\r\n\r\n"))
    assert.isFalse(standsAtStart("data: x"))
    assert.isFalse(standsAtStart("data: x\r"))
    assert.isFalse(standsAtStart("data: x\n\ndata"))
  })
})

describe("a stream of Ollama's lines", () => {
  const line = (value: unknown) => `${JSON.stringify(value)}\n`
  const first = line(ollamaLines.content("Hello"))

  it("is complete with a line that says so, and tells what was counted", () => {
    const judge = judged({ bytes: Buffer.from(first + line(ollamaLines.done)), dialect: "ollama", choices: 1 }, [7])
    assert.deepStrictEqual([judge.verdict(), judge.saidAll, judge.outputs], ["complete", true, 2])
    assert.deepStrictEqual(judge.usage(), { prompt: 26, completion: 12, cached: 0 })
  })

  it("is cut without one, and failed with an error", () => {
    assert.strictEqual(verdictOf(first, "ollama"), "truncated")
    assert.strictEqual(verdictOf(first + line(ollamaLines.done).slice(0, -2), "ollama"), "truncated")
    assert.strictEqual(verdictOf(first + line(ollamaLines.error), "ollama"), "error_sent")
  })
})

describe("what a backend counted", () => {
  it("is read from the end of a stream, and from both ends in Anthropic's dialect", () => {
    const usageOf = (text: string, dialect: Dialect, sizes: ReadonlyArray<number> = []) =>
      judged({ bytes: Buffer.from(text), dialect, choices: 1 }, sizes).usage()
    for (const writing of styles) {
      for (const sizes of [[], [1], [7, 3]]) {
        assert.deepStrictEqual(usageOf(chatStream(writing), "chat", sizes), { prompt: 11, completion: 7, cached: 0 })
        assert.deepStrictEqual(usageOf(messagesStream(writing), "messages", sizes), {
          prompt: 12,
          completion: 4,
          cached: 0
        })
        assert.deepStrictEqual(usageOf(responsesStream(writing), "responses", sizes), {
          prompt: 5,
          completion: 6,
          cached: 0
        })
      }
    }
  })
})

describe("any stream", () => {
  const sizes = fc.oneof(
    fc.constant([1]),
    fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 30 }).map((each) => [...each, 7])
  )

  it("is judged as a plain reading of its lines judges it", () => {
    holdsFor(
      streams,
      (stream) => {
        const judge = judged(stream)
        assert.deepStrictEqual({ verdict: judge.verdict(), outputs: judge.outputs }, readPlainly(stream))
      },
      3000
    )
  })

  it("is judged the same however its bytes are cut into chunks", () => {
    holdsFor(
      fc.tuple(streams, sizes),
      ([stream, cuts]) => {
        const facts = (judge: EndJudge) => ({
          verdict: judge.verdict(),
          outputs: judge.outputs,
          usage: judge.usage(),
          saidAll: judge.saidAll,
          atLineEnd: judge.atLineEnd
        })
        assert.deepStrictEqual(facts(judged(stream, cuts)), facts(judged(stream)))
      },
      3000
    )
  })
})
