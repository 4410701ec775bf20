import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { chatEvents, event, messagesEvents, responsesEvents, type Writing } from "../protocol/EventStreams.ts"
import { type Question, withGateway } from "./Harness.ts"
import { type Answer, later, type Piece, stream } from "./ScriptedTransport.ts"

const writing: Writing = { newline: "\n", lead: "data: ", spaced: false }
const role = event(chatEvents.role, writing)
const word = event(chatEvents.content("größe"), writing)
const finish = event(chatEvents.finish, writing)
const usage = event(chatEvents.usage, writing)
const done = "data: [DONE]\n\n"

const streamed: Question = { body: { stream: true } }

const dialects = [
  { path: "/v1/chat/completions", pieces: [role, word, finish, usage, done] },
  { path: "/v1/completions", pieces: [role, word, finish, done] },
  {
    path: "/v1/messages",
    pieces: [
      event(messagesEvents.start, writing, "message_start"),
      event(messagesEvents.delta("hi"), writing, "content_block_delta"),
      event(messagesEvents.ended, writing, "message_delta"),
      event(messagesEvents.stop, writing, "message_stop")
    ]
  },
  {
    path: "/v1/responses",
    pieces: [
      event(responsesEvents.created, writing, "response.created"),
      event(responsesEvents.delta("hi"), writing, "response.output_text.delta"),
      event(responsesEvents.completed("hi"), writing, "response.completed")
    ]
  }
]

/** What a client gets of a stream that comes in these pieces, and how many failures the backend is charged with. */
const relayed = (pieces: ReadonlyArray<Piece>, more: Partial<Answer> = {}, question: Question = streamed) =>
  withGateway({ script: { a: [stream(pieces, more)] } }, (gateway) =>
    Effect.map(gateway.ask(question), ({ broken, cutBy, headers, report, status, text }) => ({
      status,
      headers,
      text: Buffer.from(text, "latin1").toString("utf8"),
      broken,
      cutBy,
      end: report.end,
      failures: gateway.state("a").failures
    }))
  )

describe.each(dialects)("a stream of $path", ({ path, pieces }) => {
  const question = { ...streamed, path }

  it.effect("reaches the client byte for byte when it is complete", () =>
    Effect.gen(function* () {
      const { end, failures, headers, text } = yield* relayed(pieces, {}, question)
      assert.strictEqual(text, pieces.join(""))
      assert.deepStrictEqual([end, failures], ["complete", 0])
      assert.strictEqual(headers["content-type"], "text/event-stream")
      assert.strictEqual(headers["cache-control"], "no-cache")
      assert.strictEqual(headers["x-accel-buffering"], "no")
    })
  )

  it.effect.each([
    { how: "the connection breaks", ends: "cut" as const },
    { how: "the connection is closed in order", ends: "end" as const }
  ])("says so explicitly when it is cut and $how, and has no [DONE]", ({ ends }) =>
    Effect.gen(function* () {
      for (const kept of [2, pieces.length - 1]) {
        const before = pieces.slice(0, kept).join("")
        const result = yield* relayed([before], { end: ends }, question)
        // A chat that gave its reason to finish has ended, if its connection has.
        if (ends === "end" && before.includes('"finish_reason":"stop"')) {
          assert.strictEqual(result.end, "complete")
          continue
        }
        assert.isTrue(result.text.startsWith(before))
        assert.strictEqual(result.cutBy, "upstream_truncated")
        assert.notInclude(result.text.slice(before.length), "[DONE]")
        assert.isFalse(result.broken, "the response itself ends in order")
        assert.deepStrictEqual([result.end, result.failures], ["upstream_truncated", 1])
      }
    })
  )

  it.effect("says so explicitly when it falls silent, and the backend is told to stop", () =>
    withGateway(
      { script: { a: [stream(pieces.slice(0, 2), { end: "stall" })] }, backends: { a: { timeouts: { idle: "5s" } } } },
      (gateway) =>
        Effect.gen(function* () {
          const begin = gateway.now()
          const { broken, cutBy, report } = yield* gateway.ask(question)
          assert.deepStrictEqual([cutBy, report.end, broken], ["upstream_timeout", "upstream_timeout", false])
          assert.deepStrictEqual(gateway.transport.ends, ["timeout"])
          const took = gateway.now() - begin
          assert.isTrue(took >= 5000 && took < 5200, String(took))
          assert.strictEqual(gateway.state("a").failures, 0, "only silence before the head is counted")
        })
    )
  )

  it.effect("is the backend's own affair when it says itself what went wrong", () =>
    Effect.gen(function* () {
      const error = event(path === "/v1/messages" ? messagesEvents.error : chatEvents.error, writing, "error")
      const begun = pieces.slice(0, 2).join("")
      const { cutBy, end, failures, text } = yield* relayed([begun, error], {}, question)
      assert.strictEqual(text, begun + error)
      assert.isUndefined(cutBy)
      assert.strictEqual(end, "upstream_error", "not written down as complete")
      assert.strictEqual(failures, path === "/v1/messages" ? 0 : 1, "who has too much to do has not failed")
    })
  )
})

describe("a chat stream", () => {
  it.effect("a chat stream that says [DONE] behind its error is no complete one", () =>
    Effect.map(relayed([role, word, event(chatEvents.error, writing), done]), ({ cutBy, end, text }) => {
      assert.strictEqual(text, role + word + event(chatEvents.error, writing) + done)
      assert.deepStrictEqual([cutBy, end], [undefined, "upstream_error"])
    })
  )

  it.effect("is complete when all was said, whatever becomes of the connection", () =>
    Effect.gen(function* () {
      const { end, failures, text } = yield* relayed([role, word, finish, done], { end: "cut" })
      assert.deepStrictEqual([end, failures, text], ["complete", 0, role + word + finish + done])
    })
  )

  it.effect("a chat stream that loses its connection after its last token but before its [DONE] is cut", () =>
    Effect.map(relayed([role, word, finish], { end: "cut" }), ({ cutBy }) => {
      assert.strictEqual(cutBy, "upstream_truncated")
    })
  )

  it.effect("a chat stream of two choices is cut when only one of them has finished", () =>
    Effect.map(relayed([role, word, finish], {}, { body: { stream: true, n: 2 } }), ({ cutBy }) => {
      assert.strictEqual(cutBy, "upstream_truncated")
    })
  )

  it.effect("passes comments, keep-alives and broken chunks on byte for byte, and goes on", () =>
    Effect.gen(function* () {
      const pieces = [
        ": hi\n\n",
        role,
        ": ping\n\n",
        'data: {"choices":[{"del\n\n',
        word,
        "id: 3\nevent: x\n\n",
        finish,
        done
      ]
      const { end, text } = yield* relayed(pieces)
      assert.deepStrictEqual([end, text], ["complete", pieces.join("")])
    })
  )

  it.effect("survives being split anywhere, within a character too", () =>
    Effect.gen(function* () {
      const all = Buffer.from(role + word + finish + usage + done, "utf8")
      const { end, text } = yield* relayed(Array.from(all, (byte) => Uint8Array.of(byte)))
      assert.deepStrictEqual([end, text], ["complete", all.toString("utf8")])
    })
  )

  it.effect("comes as it comes: each piece reaches the client when the backend sends it", () =>
    withGateway(
      { script: { a: [stream([role, ...[word, word, finish, done].map((data) => later("1 second", data))])] } },
      (gateway) =>
        Effect.gen(function* () {
          const fiber = yield* gateway.start(gateway.request(streamed))
          let expected = role
          yield* gateway.passUntil(() => gateway.reading.text !== "")
          const begin = gateway.now()
          for (const [i, piece] of [word, word, finish, done].entries()) {
            assert.strictEqual(gateway.reading.text, Buffer.from(expected).toString("latin1"))
            expected += piece
            yield* gateway.passUntil(() => gateway.reading.text.length >= Buffer.from(expected).length)
            assert.approximately(gateway.now() - begin, (i + 1) * 1000, 120)
          }
          yield* gateway.join(fiber)
        })
    )
  )

  it.effect("a chat stream that pauses for less than the idle time-out, again and again, is not cut", () =>
    withGateway(
      {
        script: {
          a: [stream([role, ...Array.from({ length: 5 }, () => later("4 seconds", word)), finish, done])]
        },
        backends: { a: { timeouts: { idle: "5s", request: "6s", firstByte: "6s" } } }
      },
      (gateway) =>
        Effect.map(gateway.ask(streamed), ({ report }) => {
          assert.strictEqual(report.end, "complete")
        })
    )
  )
})

describe("the cut line of a stream", () => {
  it.effect("is closed first, so that the event behind it can be read", () =>
    Effect.map(relayed([role, word, 'data: {"choi'], { end: "cut" }), ({ cutBy, text }) => {
      assert.strictEqual(cutBy, "upstream_truncated")
      assert.isTrue(text.includes('data: {"choi\n\ndata: {"error"'))
    })
  )
})

describe("an answer of events that is no success", () => {
  it.effect("comes as it is", () =>
    Effect.gen(function* () {
      const { failures, status, text } = yield* relayed(["data: what?\n\n"], { status: 400 })
      assert.deepStrictEqual([status, text, failures], [400, "data: what?\n\n", 0])
    })
  )
})
