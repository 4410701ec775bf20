/** Answers that do not stream and are not whole: they never look like a success. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { type Question, withGateway } from "./Harness.ts"
import { type Answer, answer, later } from "./ScriptedTransport.ts"

const document = JSON.stringify({ id: "x", choices: [{ message: { content: 'a "quoted" {[' } }], usage: null })
const well = answer(200, '{"from":"b"}')

/** What only the end of its connection ends. */
const untilClose = (body: string, type: string | undefined) =>
  answer(200, [body], { headers: type === undefined ? {} : { "content-type": type } })

const of = (script: Readonly<Record<string, ReadonlyArray<Answer>>>, question: Question = {}) =>
  withGateway({ script }, (gateway) =>
    Effect.gen(function* () {
      const outcome = yield* Effect.result(gateway.ask(question))
      const { asked } = gateway.transport
      if (outcome._tag === "Failure")
        return { status: outcome.failure.status, text: "", asked, broken: false, failures: gateway.state("a").failures }
      const { broken, report, status, text } = outcome.success
      return { status, text, asked, broken, end: report.end, failures: gateway.state("a").failures }
    })
  )

describe("a document that only the end of its connection ends", () => {
  it.effect("is an attempt that failed wherever it is cut: another backend answers", () =>
    Effect.gen(function* () {
      for (let size = 1; size < document.length; size += 7) {
        const { asked, text } = yield* of({ a: [untilClose(document.slice(0, size), "application/json")], b: [well] })
        assert.deepStrictEqual([asked, text], ["ab", '{"from":"b"}'], document.slice(0, size))
      }
    })
  )

  it.effect.each([
    { what: "cut in a chat", path: "/v1/chat/completions", body: document.slice(0, -1), type: "application/json" },
    {
      what: "cut among numbers",
      path: "/v1/embeddings",
      body: '{"data":[{"embedding":[0.1,0.2',
      type: "application/json"
    },
    { what: "cut without a label", path: "/v1/chat/completions", body: document.slice(0, 30), type: undefined },
    {
      what: "cut as problem+json",
      path: "/v1/rerank",
      body: '{"results":[',
      type: "application/problem+json; charset=utf-8"
    },
    { what: "no JSON at all", path: "/v1/messages", body: "Bad gateway", type: "application/json" },
    { what: "empty", path: "/v1/chat/completions", body: "", type: "application/json" },
    { what: "empty without a label", path: "/v1/embeddings", body: "", type: undefined }
  ])("is a 502 where there is no other backend: $what", ({ body, path, type }) =>
    Effect.gen(function* () {
      const { failures, status } = yield* of({ a: [untilClose(body, type)] }, { path, body: { input: "x" } })
      assert.strictEqual(status, 502)
      assert.isAtMost(failures, 1)
    })
  )

  it.effect.each([
    { what: "whole", body: document, type: "application/json" },
    { what: "with blanks around it", body: `\n ${document}\n\n`, type: "application/json" },
    { what: "behind a byte order mark", body: `\ufeff${document}`, type: "application/json" },
    { what: "with numbers as Python writes them", body: '{"a":[NaN,-Infinity,Infinity]}', type: "application/json" },
    { what: "a text", body: '"text"', type: "application/json" },
    { what: "lines of JSON", body: '{"a":1}\n{"a":2}\n', type: "application/json" },
    { what: "of another kind", body: "cut or not, nobody can tell {", type: "text/plain" },
    { what: "of another kind without a label", body: "ID3 sound", type: undefined }
  ])("passes as it is where it is $what", ({ body, type }) =>
    Effect.map(of({ a: [untilClose(body, type)], b: [well] }), ({ asked, status, text }) => {
      assert.deepStrictEqual([asked, status, Buffer.from(text, "utf8").toString("utf8")], ["a", 200, body])
    })
  )

  it.effect("a document that is too large to be held breaks the client's connection only where it is cut", () =>
    Effect.gen(function* () {
      const large = JSON.stringify({ data: Array.from({ length: 60_000 }, (_, i) => ({ text: `"}]\\${i}`, at: [i] })) })
      const pieces = (text: string) => [
        text.slice(0, 700_000),
        text.slice(700_000, 1_200_000),
        later("1 second", text.slice(1_200_000))
      ]
      const headers = { "content-type": "application/json" }
      const whole = yield* of({ a: [answer(200, pieces(large), { headers })] })
      assert.deepStrictEqual([whole.broken, whole.end, whole.failures], [false, "complete", 0])
      for (const size of [1_300_000, large.length - 1, large.length - 2]) {
        const cut = yield* of({ a: [answer(200, pieces(large.slice(0, size)), { headers })], b: [well] })
        assert.deepStrictEqual([cut.asked, cut.broken, cut.end, cut.failures], ["a", true, "upstream_truncated", 1])
      }
    })
  )

  it.effect("a document that goes by path breaks the client's connection where it is cut", () =>
    Effect.gen(function* () {
      const question = { method: "GET", path: "/v1/files" }
      assert.isFalse((yield* of({ a: [untilClose(document, "application/json")] }, question)).broken)
      assert.isTrue((yield* of({ a: [untilClose(document.slice(0, 40), "application/json")] }, question)).broken)
    })
  )
})

describe("an empty answer", () => {
  const empty = (headers: Answer["headers"], status = 200) => answer(status, [], { headers })

  it.effect.each([
    { what: "with a length", headers: { "content-type": "application/json", "content-length": "0" } },
    { what: "in no chunks", headers: { "content-type": "application/json", "transfer-encoding": "chunked" } },
    { what: "without any headers", headers: {} }
  ])("an empty answer to a request for a document is an attempt that failed: $what", ({ headers }) =>
    Effect.map(of({ a: [empty(headers)], b: [well] }), ({ asked, text }) => {
      assert.deepStrictEqual([asked, text], ["ab", '{"from":"b"}'])
    })
  )

  it.effect.each(["\n", "  \r\n", "\ufeff"])("is one of blanks alone, too: %j", (blanks) =>
    Effect.map(of({ a: [answer(200, [blanks])], b: [well] }), ({ asked, text }) => {
      assert.deepStrictEqual([asked, text], ["ab", '{"from":"b"}'])
    })
  )

  it.effect("is none where it says so, is of another kind, or is not known for what it is", () =>
    Effect.gen(function* () {
      for (const [answered, question] of [
        [empty({ "content-length": "0" }, 204), {}],
        [empty({ "content-type": "application/json", "content-length": "0" }, 404), {}],
        [empty({ "content-type": "text/plain", "content-length": "0" }), {}],
        [empty({ "content-length": "0" }), { method: "GET", path: "/v1/files" }],
        [empty({ "content-type": "application/json", "content-length": "77" }), { method: "HEAD", path: "/v1/files" }]
      ] as const) {
        const { asked, failures, status } = yield* of({ a: [answered] }, question)
        assert.deepStrictEqual([asked, status, failures], ["a", answered.status, 0])
      }
    })
  )
})

describe("an answer that does not stream and comes slowly", () => {
  it.effect("is alive by any byte: firstByte is only about silence", () =>
    withGateway(
      {
        script: {
          a: [
            answer(
              200,
              document
                .slice(0, 40)
                .split("")
                .map((byte) => later("1 second", byte))
            )
          ]
        },
        backends: { a: { timeouts: { firstByte: "2s", request: "100s" } } }
      },
      (gateway) =>
        Effect.gen(function* () {
          assert.strictEqual((yield* gateway.ask()).text, document.slice(0, 40))
          assert.strictEqual(gateway.transport.asked, "a")
        })
    )
  )
})
