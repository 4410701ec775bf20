import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import type { Dialect } from "../../src/protocol/Endpoint.ts"
import { StreamEndDetector } from "../../src/protocol/StreamEndDetector.ts"
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

const detected = ({ bytes, choices, dialect }: Streamed, sizes: ReadonlyArray<number> = []) => {
  const detector = new StreamEndDetector(dialect, choices)
  for (const piece of split(bytes, sizes)) detector.push(piece)
  return detector
}

const verdictOf = (text: string, dialect: Dialect = "chat", choices = 1) =>
  detected({ bytes: Buffer.from(text, "utf8"), dialect, choices }).outcome()

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
  { newline: "\r\n", lead: "data:", spaced: true },
  { newline: "\r", lead: "data: ", spaced: false }
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
        const detector = detected({ bytes, dialect, choices: 1 })
        assert.isFalse(detector.saidAll, `cut at ${size}`)
        // What a chat says without its last word is enough where the connection ends in order.
        const hasReason = dialect === "chat" && bytes.includes(`"stop"}]}${writing.newline.slice(0, 1)}`)
        assert.strictEqual(detector.outcome(), hasReason ? "complete" : "truncated", `cut at ${size}`)
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

  it("a chat stream without its [DONE] is complete when it gave a reason to finish", () => {
    assert.strictEqual(verdictOf(role + finish), "complete")
    assert.strictEqual(verdictOf(role), "truncated")
    assert.isFalse(detected({ bytes: Buffer.from(role + finish), dialect: "chat", choices: 1 }).saidAll)
  })

  it("a chat stream of several choices is complete when each of them has finished", () => {
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
    const detector = new StreamEndDetector("chat", 1)
    detector.push(Buffer.from('data: {"finish_reason":"'))
    detector.push(Buffer.from("\ndata: {}\n\n"))
    assert.strictEqual(detector.outcome(), "truncated")
  })

  it("is not ended by what a model writes", () => {
    for (const text of ["data: [DONE]", "\n\ndata: [DONE]\n\n", '"finish_reason":"stop"', '","finish_reason":"stop"']) {
      assert.strictEqual(verdictOf(role + event(chatEvents.content(text), plain)), "truncated", text)
      assert.strictEqual(verdictOf(role + event(chatEvents.tool(text), plain)), "truncated", text)
    }
  })

  it("may hold comments, keep-alives and fields of other kinds, which are no output", () => {
    const detector = detected({
      bytes: Buffer.from(`: ping\n\nid: 1\nretry: 5\n\n${role}: ping\n\n${finish}`),
      dialect: "chat",
      choices: 1
    })
    assert.strictEqual(detector.outputs, 2)
    assert.strictEqual(detector.outcome(), "complete")
    assert.strictEqual(detected({ bytes: Buffer.from(": data: x\n\n"), dialect: "chat", choices: 1 }).outputs, 0)
  })

  it("has an output with its first event that says something, however slowly it comes", () => {
    const detector = new StreamEndDetector("chat", 1)
    for (const byte of `: hello\n\n${role}`) detector.push(Buffer.from(byte))
    assert.deepStrictEqual([detector.hasEvents, detector.hasOutput], [true, false])
    const word = event(chatEvents.content("Hello"), plain)
    for (const byte of word.slice(0, -1)) detector.push(Buffer.from(byte))
    assert.isFalse(detector.hasOutput)
    detector.push(Buffer.from("\n"))
    assert.isTrue(detector.hasOutput)
  })
})

describe("streams of other dialects", () => {
  it("are not ended by a delta that is the name of the last event", () => {
    assert.strictEqual(verdictOf(event(messagesEvents.delta("message_stop"), plain), "messages"), "truncated")
    assert.strictEqual(verdictOf(event(responsesEvents.delta("response.completed"), plain), "responses"), "truncated")
  })

  it.each(["response.completed", "response.incomplete"])("streams of responses end with %s", (type) => {
    assert.strictEqual(verdictOf(event({ response: {}, type }, plain), "responses"), "complete")
  })

  it("streams of responses have failed with response.failed, by which all is said", () => {
    const failed = {
      type: "response.failed",
      response: { error: { code: "rate_limit_exceeded", message: "slow down" } }
    }
    const detector = detected({ bytes: Buffer.from(event(failed, plain)), dialect: "responses", choices: 1 })
    assert.deepStrictEqual([detector.outcome(), detector.saidAll, detector.error?.status], ["error_sent", true, 429])
  })

  it("streams of unknown dialects are complete when the connection ends in order", () => {
    assert.strictEqual(verdictOf("data: tick\n\n", "none"), "complete")
    assert.isFalse(detected({ bytes: Buffer.from("data: tick\n\n"), dialect: "none", choices: 1 }).saidAll)
  })
})

describe("the place where a stream stands", () => {
  it("is at the start of a line only behind a line break", () => {
    const standsAtStart = (text: string) =>
      detected({ bytes: Buffer.from(text), dialect: "chat", choices: 1 }).atLineEnd
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
    const detector = detected(
      { bytes: Buffer.from(first + line(ollamaLines.done)), dialect: "ollama", choices: 1 },
      [7]
    )
    assert.deepStrictEqual([detector.outcome(), detector.saidAll, detector.outputs], ["complete", true, 2])
    assert.deepStrictEqual(detector.usage(), { prompt: 26, completion: 12, cached: 0 })
  })

  it("is cut without one, and failed with an error", () => {
    assert.strictEqual(verdictOf(first, "ollama"), "truncated")
    assert.strictEqual(verdictOf(first + line(ollamaLines.done).slice(0, -2), "ollama"), "truncated")
    assert.strictEqual(verdictOf(first + line(ollamaLines.error), "ollama"), "error_sent")
  })

  it("is not ended by what a tool is called with", () => {
    assert.strictEqual(verdictOf(first + line(ollamaLines.tool("x")), "ollama"), "truncated")
  })
})

describe("what a backend counted", () => {
  it("is read from the end of a stream, and from both ends in Anthropic's dialect", () => {
    const usageOf = (text: string, dialect: Dialect, sizes: ReadonlyArray<number> = []) =>
      detected({ bytes: Buffer.from(text), dialect, choices: 1 }, sizes).usage()
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

describe("an event of megabytes", () => {
  const large = "x".repeat(3 * 1024 * 1024)
  const cuts = [[], [100_000], [65_536], [16_384], [1_000_003]]

  it.each([
    ["chat", event(chatEvents.content(large), plain) + event(chatEvents.finish, plain), "complete"],
    ["chat", event({ choices: [{ delta: { content: large }, finish_reason: "stop" }] }, plain), "complete"],
    ["chat", event(chatEvents.content(large), plain), "truncated"],
    ["chat", `: ${large}"finish_reason":"stop"\n\n`, "truncated"],
    ["responses", event({ type: "response.completed", response: large }, plain), "complete"],
    ["responses", event({ response: large, type: "response.completed" }, plain), "complete"],
    ["messages", event({ error: { message: large, type: "api_error" } }, plain), "error_sent"],
    ["ollama", `${JSON.stringify({ done: true, context: large })}\n`, "complete"],
    ["ollama", `${JSON.stringify({ response: large, done: false })}\n`, "truncated"]
  ] as const)("is judged as a small one is, however it is cut (%s)", (dialect, text, verdict) => {
    for (const sizes of cuts) {
      const detector = detected({ bytes: Buffer.from(text), dialect, choices: 1 }, sizes)
      assert.strictEqual(detector.outcome(), verdict)
      assert.strictEqual(
        detector.hasOutput,
        text.startsWith(":") ? false : verdict !== "error_sent" || detector.hasOutput
      )
    }
  })

  it("is output long before its end", () => {
    const detector = detected({
      bytes: Buffer.from(event(chatEvents.content(large), plain).slice(0, 20_000)),
      dialect: "chat",
      choices: 1
    })
    assert.isTrue(detector.hasOutput)
  })
})

describe("an error in a stream", () => {
  const last = (text: string, dialect: Dialect = "chat") => {
    const detector = detected({ bytes: Buffer.from(text), dialect, choices: 1 }, [11])
    return [detector.outcome(), detector.error?.status]
  }
  const word = event(chatEvents.content("hi"), plain)
  const error = JSON.stringify({ message: "no", code: 503 })

  it.each([
    ["with its name behind its data", `data: ${error}\nevent: error\n\n`],
    ["with an id and a time in between", `id: 1\nevent: error\nretry: 9\ndata: ${error}\n\n`],
    ["over several lines", `data: {\ndata: "error":\ndata: ${error}\ndata: }\n\n`],
    ["as a member of a chunk", `data: {"id":"c","object":"chat.completion.chunk","choices":[],"error":${error}}\n\n`],
    ["without an empty line behind it", `data: {"error":${error}}\n`],
    ["as a line of llama.cpp's", `error: ${error}\n\n`],
    ["as vLLM has it", `data: {"object":"error","message":"no","type":"ServiceUnavailable","code":503}\n\n`]
  ])("is found %s", (_, text) => {
    assert.deepStrictEqual(last(word + text), ["error_sent", 503])
    assert.deepStrictEqual(last((word + text).replaceAll("\n", "\r")), ["error_sent", 503])
  })

  it("is none where it is null, empty, or part of something else", () => {
    for (const data of [
      { choices: [], error: null },
      { choices: [], error: "" },
      { choices: [], error: {} },
      { choices: [{ delta: { content: '"error":{"code":500}' } }] },
      { choices: [{ delta: { tool: { error: { code: 500 } } } }] }
    ]) {
      assert.deepStrictEqual(last(word + event(data, plain)), ["truncated", undefined], JSON.stringify(data))
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
        const detector = detected(stream)
        assert.deepStrictEqual({ verdict: detector.outcome(), outputs: detector.outputs }, readPlainly(stream))
      },
      3000
    )
  })

  it("is judged the same however its bytes are cut into chunks", () => {
    holdsFor(
      fc.tuple(streams, sizes),
      ([stream, cuts]) => {
        const facts = (detector: StreamEndDetector) => ({
          verdict: detector.outcome(),
          outputs: detector.outputs,
          hasOutput: detector.hasOutput,
          hasEvents: detector.hasEvents,
          error: detector.error,
          usage: detector.usage(),
          saidAll: detector.saidAll,
          atLineEnd: detector.atLineEnd
        })
        assert.deepStrictEqual(facts(detected(stream, cuts)), facts(detected(stream)))
      },
      3000
    )
  })
})
