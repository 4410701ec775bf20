/** Streams that were asked for and come under another label, or are none. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { chatEvents, event, ollamaLines, type Writing } from "../protocol/EventStreams.ts"
import { type Question, withGateway } from "./Harness.ts"
import { answer, labelled, later, type Piece } from "./ScriptedTransport.ts"

const plain: Writing = { newline: "\n", lead: "data: ", spaced: false }
const word = event(chatEvents.content("one"), plain)
const end = `${event(chatEvents.finish, plain)}data: [DONE]\n\n`
const streamed: Question = { body: { stream: true } }

const headersOf = (type: string | undefined) =>
  type === undefined ? { "transfer-encoding": "chunked" } : labelled(type)

/** What a client has when a backend has sent its first pieces, and when all has come. */
const relayed = (type: string | undefined, pieces: ReadonlyArray<Piece>, question = streamed) =>
  withGateway(
    {
      script: { a: [answer(200, pieces, { headers: headersOf(type) })] },
      backends: { a: { timeouts: { firstByte: "3s", idle: "4s", request: "5s" } } }
    },
    (gateway) =>
      Effect.gen(function* () {
        const fiber = yield* gateway.start(gateway.request(question))
        yield* gateway.passUntil(() => (gateway.transport.exchanges[0]?.read ?? 0) > 0)
        yield* gateway.passUntil(() => gateway.reading.status > 0 || fiber.pollUnsafe() !== undefined)
        const early = gateway.reading.text
        const reading = yield* gateway.join(fiber)
        assert.strictEqual(gateway.transport.asked, "a")
        return { early, reading, failures: gateway.state("a").failures }
      })
  )

const types = [
  undefined,
  "application/json",
  "application/json; charset=utf-8",
  "text/plain",
  "text/html",
  "application/octet-stream",
  "application/x-ndjson"
]

describe.each(types)("a stream that was asked for and is labelled %s", (type) => {
  it.effect.each([
    { what: "as a rule", first: word },
    { what: "behind a comment", first: `: hello\n\n${word}` },
    { what: "behind a byte order mark and blanks", first: `\ufeff\n\n${word}` },
    { what: "with other fields in front", first: `id: 1\nretry: 100\n${word}` },
    { what: "with named events", first: `event: x\n${word}` }
  ])("is passed on event by event as one of events, by the time-outs of streams: $what", ({ first }) =>
    Effect.gen(function* () {
      // Longer than `firstByte` and `request` together.
      const pieces = [first, ...Array.from({ length: 9 }, () => later("2 seconds", word)), later("2 seconds", end)]
      const { early, reading, failures } = yield* relayed(type, pieces)
      assert.strictEqual(Buffer.from(early, "latin1").toString("utf8"), first, "nothing waits for more")
      assert.isTrue(reading.text.endsWith(end))
      assert.strictEqual(reading.headers["content-type"], "text/event-stream")
      assert.deepStrictEqual([reading.report.end, failures], ["complete", 0])
    })
  )

  it.effect("is told to be cut where it is", () =>
    Effect.map(relayed(type, [word]), ({ reading, failures }) => {
      assert.deepStrictEqual([reading.cutBy, reading.broken, failures], ["upstream_truncated", false, 1])
    })
  )

  it.effect("a document under such a label passes whole, under its own label", () =>
    Effect.gen(function* () {
      const text = '{\n "choices": [{"message": {"content": "hi"}}]\n}\n'
      const { reading } = yield* relayed(type, [text.slice(0, 20), later("2 seconds", text.slice(20))])
      assert.deepStrictEqual([reading.status, reading.text, reading.broken], [200, text, false])
      assert.strictEqual(reading.headers["content-type"], type)
    })
  )

  it.effect("anything else under such a label passes as it comes, under its own label", () =>
    Effect.gen(function* () {
      const lines = ['{"choices":[{"text":"one"}]}\n', '{"choices":[{"text":"two"}]}\n']
      for (const pieces of [lines, ["Hel", "lo"]]) {
        const [first = "", second = ""] = pieces
        const { early, reading } = yield* relayed(type, [
          first,
          later("3900 millis", second),
          later("3900 millis", second)
        ])
        assert.strictEqual(early, first, "nothing waits for more")
        assert.deepStrictEqual([reading.text, reading.broken], [first + second + second, false])
        assert.strictEqual(reading.headers["content-type"], type)
      }
    })
  )
})

describe("a stream that was asked for", () => {
  it.effect("a stream of sound is passed on as it comes, whatever its bytes look like", () =>
    Effect.gen(function* () {
      for (const first of [": x\n\n", "data: x\n\n", "{", "\u0000\u0001"]) {
        const question: Question = { path: "/v1/audio/speech", body: { input: "hi", voice: "x" } }
        const { early, reading } = yield* relayed("audio/mpeg", [first, later("3 seconds", "more")], question)
        assert.deepStrictEqual([early, reading.text], [first, `${first}more`])
        assert.strictEqual(reading.headers["content-type"], "audio/mpeg")
      }
    })
  )

  it.effect("a stream of Ollama's lines is one under any label, and is told to be cut in its own form", () =>
    Effect.gen(function* () {
      const [first, last] = [ollamaLines.content("hi"), ollamaLines.done].map((line) => `${JSON.stringify(line)}\n`)
      for (const type of [...types, "application/ndjson"]) {
        const whole = yield* relayed(type, [first ?? "", later("3 seconds", last ?? "")], { path: "/api/chat" })
        assert.deepStrictEqual([whole.early, whole.reading.text], [first, `${first}${last}`])
        assert.deepStrictEqual([whole.reading.report.end, whole.reading.headers["content-type"]], ["complete", type])
        const cut = yield* relayed(type, [first ?? ""], { path: "/api/chat" })
        assert.deepStrictEqual(Object.keys(JSON.parse(cut.reading.text.split("\n")[1] ?? "")), ["error"])
        assert.deepStrictEqual([cut.reading.report.end, cut.failures], ["upstream_truncated", 1])
      }
    })
  )

  it.effect("is none that brings nothing, whatever its label", () =>
    Effect.gen(function* () {
      for (const type of [...types, "text/event-stream"]) {
        for (const pieces of [[], ["\n\n"], [": only a comment\n\n"]]) {
          if (pieces.length > 0 && type === "application/x-ndjson") continue
          const { status, text } = yield* withGateway(
            {
              script: {
                a: [answer(200, pieces, { headers: headersOf(type) })],
                b: [answer(200, [word + end], { headers: headersOf(type) })]
              }
            },
            (gateway) => gateway.ask(streamed)
          )
          assert.deepStrictEqual([status, text], [200, word + end], `${type}: ${JSON.stringify(pieces)}`)
        }
      }
    })
  )

  it.effect("a document that is an error under a 200, in place of a stream, is an attempt that failed", () =>
    Effect.gen(function* () {
      for (const type of ["application/json", "text/event-stream", undefined]) {
        const { status, text } = yield* withGateway(
          { script: { a: [answer(200, ['{"error":{"message":"no","code":400}}'], { headers: headersOf(type) })] } },
          (gateway) => gateway.ask(streamed)
        )
        assert.deepStrictEqual([status, text], [400, '{"error":{"message":"no","code":400}}'])
      }
    })
  )
})

describe("a stream that was not asked for", () => {
  it.effect("is passed on as one where it says that it is one, and held as a document where it does not", () =>
    Effect.gen(function* () {
      const pieces = [word, later("1 second", end)]
      const events = yield* relayed("text/event-stream", pieces, {})
      assert.deepStrictEqual([events.early, events.reading.text], [word, word + end])
      const held = yield* relayed("application/json", pieces, {})
      assert.deepStrictEqual(
        [held.reading.text, held.reading.headers["content-type"]],
        [word + end, "application/json"]
      )
    })
  )
})
