/** How long a stream may say nothing, what counts as a sign of life, and when its beginning is passed on. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import {
  chatEvents,
  event,
  messagesEvents,
  ollamaLines,
  responsesEvents,
  type Writing
} from "../protocol/EventStreams.ts"
import { type Question, withGateway } from "./Harness.ts"
import { labelled, later, type Piece, type Step, stream } from "./ScriptedTransport.ts"

const plain: Writing = { newline: "\n", lead: "data: ", spaced: false }
const role = event(chatEvents.role, plain)
const word = event(chatEvents.content("hi"), plain)
const done = "data: [DONE]\n\n"
const comment = ": ping\n\n"
const streamed: Question = { body: { stream: true } }

const comments = (count: number, every: number): ReadonlyArray<Piece> =>
  Array.from({ length: count }, () => later(`${every} millis`, comment))

/** Two backends, of which the first does this; how long it took until something was passed on, and until all was. */
const timed = (first: Step, timeouts: object = { firstByte: "2s", idle: "3s" }, question = streamed) =>
  withGateway({ script: { a: [first], b: [stream([word, done])] }, backends: { a: { timeouts } } }, (gateway) =>
    Effect.gen(function* () {
      const begin = gateway.now()
      const fiber = yield* gateway.start(gateway.request(question))
      yield* gateway.passUntil(() => gateway.reading.status > 0)
      const began = gateway.now() - begin
      const { cutBy, report, text } = yield* gateway.join(fiber)
      const ended = gateway.now() - begin
      const { asked, ends } = gateway.transport
      return { began, ended, text, cutBy, end: report.end, asked, ends, failures: gateway.state("a").failures }
    })
  )

const assertNear = (took: number, millis: number, slack = 120) =>
  assert.isTrue(took >= millis && took <= millis + slack, `${took} ms, not ${millis}`)

describe("a backend that sends comments before its first output", () => {
  it.effect("is alive: it is waited for for far longer than firstByte, and asked once", () =>
    Effect.gen(function* () {
      const { asked, text } = yield* timed(stream([...comments(40, 1000), word, done]))
      assert.deepStrictEqual([asked, text], ["a", `${comment.repeat(40)}${word}${done}`])
    })
  )

  it.effect.each([
    { what: "any byte of an event that is not whole", pieces: word.split("").map((byte) => later("1 second", byte)) },
    { what: "blank lines", pieces: Array.from({ length: 9 }, () => later("1 second", "\n")) },
    { what: "fields without data", pieces: Array.from({ length: 9 }, () => later("1 second", "retry: 10\n\n")) }
  ])("is alive by $what, too", ({ pieces }) =>
    Effect.map(timed(stream([...pieces, word, done])), ({ asked, end }) => {
      assert.deepStrictEqual([asked, end], ["a", "complete"])
    })
  )

  it.effect("has them passed on after five seconds of them, and not before", () =>
    Effect.gen(function* () {
      const late = yield* timed(stream([...comments(20, 500), word, done]))
      assertNear(late.began, 5500)
      const early = yield* timed(stream([...comments(9, 500), word, done]))
      assertNear(early.began, 4500)
      assert.strictEqual(early.text, `${comment.repeat(9)}${word}${done}`)
    })
  )

  it.effect("a backend that breaks off within five seconds of comments is not the client's: another one answers", () =>
    Effect.gen(function* () {
      for (const end of ["cut", "end"] as const) {
        const { asked, text } = yield* timed(stream(comments(8, 500), { end }))
        assert.deepStrictEqual([asked, text], ["ab", word + done])
      }
    })
  )

  it.effect("a backend that falls silent after its comments is given up after firstByte, and another one answers", () =>
    Effect.gen(function* () {
      const { asked, began, failures } = yield* timed(stream(comments(3, 500), { end: "stall" }))
      assert.deepStrictEqual([asked, failures], ["ab", 1])
      assertNear(began, 3500)
    })
  )

  it.effect("a backend that breaks off after five seconds of comments has its end told", () =>
    Effect.gen(function* () {
      for (const [end, code] of [
        ["cut", "upstream_truncated"],
        ["end", "upstream_truncated"],
        ["stall", "upstream_timeout"]
      ] as const) {
        const { asked, cutBy } = yield* timed(stream(comments(20, 500), { end }))
        assert.deepStrictEqual([asked, cutBy], ["a", code])
      }
    })
  )

  it.effect("a backend that sends comments for ever is bounded by the client's deadline", () =>
    Effect.gen(function* () {
      const question = { ...streamed, headers: { "x-weir-timeout": "20s" } }
      const { asked, cutBy, ended, ends } = yield* timed(stream(comments(200, 500)), undefined, question)
      assert.deepStrictEqual([asked, cutBy, ends], ["a", "upstream_timeout", ["timeout"]])
      assertNear(ended, 20_000)
    })
  )

  it.effect("a backend that sends comments without end and without pause has no more than 64 KiB of them held", () =>
    Effect.gen(function* () {
      const { began, text } = yield* timed(
        stream([...Array.from({ length: 80 }, () => `: ${"x".repeat(1022)}\n\n`), word, done])
      )
      assertNear(began, 0)
      assert.isTrue(text.endsWith(word + done))
    })
  )
})

const openings: ReadonlyArray<readonly [string, string, Question]> = [
  ["an empty role chunk", role, streamed],
  ["a chunk without choices", event({ choices: [] }, plain), streamed],
  ["message_start", event(messagesEvents.start, plain, "message_start"), { ...streamed, path: "/v1/messages" }],
  ["response.created", event(responsesEvents.created, plain), { ...streamed, path: "/v1/responses" }]
]

describe("what only opens a stream", () => {
  it.effect.each(openings)(
    "is held back for what follows, but not for longer than 50 ms: %s",
    ([, opening, question]) =>
      Effect.gen(function* () {
        const alone = yield* timed(stream([opening, later("1 second", word), done]), undefined, question)
        assert.isTrue(alone.began >= 20 && alone.began <= 70, `${alone.began} ms`)
        const followed = yield* timed(stream([opening, later("10 millis", word), done]), undefined, question)
        assert.isTrue(followed.began <= 20, `${followed.began} ms`)
        assert.isTrue(followed.text.startsWith(opening + word))
      })
  )

  it.effect.each(openings)("is not the client's where the backend breaks off at once: %s", ([, opening, question]) =>
    Effect.gen(function* () {
      for (const end of ["cut", "end"] as const) {
        const { asked } = yield* timed(stream([opening], { end }), undefined, question)
        assert.strictEqual(asked, "ab")
      }
    })
  )

  it.effect("is the client's once it was passed on: what fails then is told", () =>
    Effect.gen(function* () {
      const { asked, cutBy } = yield* timed(stream([role, later("1 second", comment)], { end: "cut" }))
      assert.deepStrictEqual([asked, cutBy], ["a", "upstream_truncated"])
    })
  )

  it.effect("does not count as a first output", () =>
    withGateway({ script: { a: [stream([role, later("3 seconds", word), done])] } }, (gateway) =>
      Effect.map(gateway.ask(streamed), ({ report }) => {
        assertNear(report.firstOutput ?? 0, 3000)
      })
    )
  )
})

describe("a stream that has said all", () => {
  const last: ReadonlyArray<readonly [string, ReadonlyArray<string>, Question]> = [
    ["[DONE]", [role, word, done], streamed],
    ["[DONE] without a line break", [role, word, done.trim()], streamed],
    [
      "message_stop",
      [event(messagesEvents.delta("hi"), plain), event(messagesEvents.stop, plain)],
      { ...streamed, path: "/v1/messages" }
    ],
    [
      "response.completed",
      [event(responsesEvents.delta("hi"), plain), event(responsesEvents.completed("hi"), plain)],
      { ...streamed, path: "/v1/responses" }
    ],
    [
      "done",
      [`${JSON.stringify(ollamaLines.content("hi"))}\n`, `${JSON.stringify(ollamaLines.done)}\n`],
      { path: "/api/chat" }
    ]
  ]

  it.effect.each(last)(
    "a stream whose connection stays open behind its end is complete after a second, with no backend blamed: %s",
    ([what, pieces, question]) =>
      Effect.gen(function* () {
        const headers = labelled(what === "done" ? "application/x-ndjson" : "text/event-stream")
        for (const more of [[], [later("600 millis", "\n"), later("600 millis", "\n")], comments(100, 300)]) {
          const { asked, end, ended, ends, failures, text } = yield* timed(
            stream([...pieces, ...more], { end: "stall", headers }),
            undefined,
            question
          )
          assert.deepStrictEqual([asked, end, failures, ends], ["a", "complete", 0, ["timeout"]])
          assert.isTrue(text.startsWith(pieces.join("")))
          assertNear(ended, 1000)
        }
      })
  )

  it.effect("all at once, before anything of it was passed on, is no exception", () =>
    Effect.map(timed(stream([role + word + done], { end: "stall" })), ({ end, ended }) => {
      assert.strictEqual(end, "complete")
      assertNear(ended, 1000)
    })
  )
})
