/** Answers that are no streams in a known dialect: whole ones, large ones, and whatever is passed through by path. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { type Question, withGateway } from "./Harness.ts"
import { type Answer, answer, later, type Piece, stream } from "./ScriptedTransport.ts"

const MiB = 1024 * 1024
const large = (size: number) => Uint8Array.from({ length: size }, (_, i) => i % 251)
const pieces = (size: number, count: number): ReadonlyArray<Piece> =>
  Array.from({ length: count }, () => large(size / count))

describe("a short answer", () => {
  it.effect("comes whole, with its status and headers, however slowly the backend sent it", () =>
    withGateway(
      {
        script: {
          a: [
            answer(201, ['{"a', later("1 second", '":'), "1}"], {
              headers: {
                "content-type": "application/json",
                "x-a": "1",
                "set-cookie": ["a=1", "b=2"],
                server: "vllm",
                "content-length": "7"
              }
            })
          ]
        }
      },
      (gateway) =>
        Effect.gen(function* () {
          const { cookies, headers, report, status, text } = yield* gateway.ask()
          assert.deepStrictEqual([status, text, headers["x-a"]], [201, '{"a":1}', "1"])
          assert.deepStrictEqual(cookies, ["a=1", "b=2"])
          assert.doesNotHaveAnyKeys(headers, ["server", "set-cookie", "content-length"])
          assert.match(headers["server-timing"] ?? "", /^queue;dur=\d+\.\d, upstream;dur=\d+\.\d$/)
          assert.strictEqual(report.end, "complete")
        })
    )
  )

  it.effect("has its tokens read wherever the network cut it", () =>
    withGateway(
      {
        script: {
          a: [answer(200, Array.from('{"choices":[],"usage":{"prompt_tokens":30,"completion_tokens":12}}'))]
        },
        more: { keys: [{ name: "k", key: "secret", limits: { tokensPerMinute: 1000 } }] }
      },
      (gateway) =>
        Effect.gen(function* () {
          yield* gateway.ask({ key: "k", body: { max_tokens: 500 } })
          const { headers } = yield* gateway.ask({ key: "k", body: { max_tokens: 1 } })
          const used = 1000 - Number(headers["x-ratelimit-remaining-tokens"])
          assert.isTrue(used > 42 && used < 100, `${used} used`)
        })
    )
  )
})

describe("a large answer", () => {
  it.effect("is passed on as it comes, and complete", () =>
    withGateway(
      {
        script: {
          a: [
            answer(200, [...pieces(1.5 * MiB, 6), later("5 seconds", large(1000))], {
              headers: { "content-length": String(1.5 * MiB + 1000) }
            })
          ]
        }
      },
      (gateway) =>
        Effect.gen(function* () {
          const fiber = yield* gateway.start(gateway.request())
          yield* gateway.passUntil(() => gateway.reading.text.length >= 1.5 * MiB)
          assert.strictEqual(gateway.transport.ends[0], "open")
          const { broken, contentLength, report, text } = yield* gateway.join(fiber)
          assert.deepStrictEqual([broken, text.length, contentLength], [false, 1.5 * MiB + 1000, 1.5 * MiB + 1000])
          assert.strictEqual(report.end, "complete")
        })
    )
  )

  it.effect("a large answer that is cut breaks the client's connection, is counted, and is not asked for again", () =>
    withGateway({ script: { a: [answer(200, pieces(2 * MiB, 4), { end: "cut" })], b: [answer(200)] } }, (gateway) =>
      Effect.gen(function* () {
        const { broken, report } = yield* gateway.ask()
        assert.deepStrictEqual([broken, report.end], [true, "upstream_truncated"])
        assert.deepStrictEqual([gateway.transport.asked, gateway.state("a").failures], ["a", 1])
      })
    )
  )

  it.effect.each([
    { what: "the client's own deadline", headers: { "x-weir-timeout": "3s" }, backend: {} },
    { what: "the request time-out", headers: {}, backend: { timeouts: { request: "3s" } } }
  ])("a large answer that stalls is ended by $what, and the backend is told to stop", ({ backend, headers }) =>
    withGateway(
      { script: { a: [answer(200, pieces(2 * MiB, 4), { end: "stall" })] }, backends: { a: backend } },
      (gateway) =>
        Effect.gen(function* () {
          const begin = gateway.now()
          const { broken, report } = yield* gateway.ask({ headers })
          assert.approximately(gateway.now() - begin, 3000, 150)
          assert.deepStrictEqual([broken, report.end], [true, "upstream_timeout"])
          assert.deepStrictEqual(gateway.transport.ends, ["timeout"])
          assert.strictEqual(gateway.state("a").failures, 0, "only time-outs before the head are counted")
        })
    )
  )
})

const relayed = (step: Answer, question: Question) =>
  withGateway({ script: { a: [step] } }, (gateway) =>
    Effect.map(gateway.ask(question), ({ broken, contentLength, report, status, text }) => ({
      status,
      contentLength,
      text,
      broken,
      end: report.end,
      failures: gateway.state("a").failures
    }))
  )

describe("an answer of any JSON, or of none", () => {
  it.effect.each([
    "null",
    "[]",
    "[1]",
    '"text"',
    "7",
    "true",
    "{",
    '{"usage":null}',
    '{"usage":[]}',
    '{"usage":{"prompt_tokens":"many"}}'
  ])("comes as it is: %j", (text) =>
    withGateway({ script: { a: [answer(200, text)] } }, (gateway) =>
      Effect.gen(function* () {
        const reading = yield* gateway.ask()
        assert.deepStrictEqual([reading.status, reading.text], [200, text])
        assert.strictEqual(reading.report.end, "complete")
      })
    )
  )
})

describe("what is passed through by path", () => {
  it.effect("counts as load from the choice to its last byte, and gives way like everything else", () =>
    withGateway(
      {
        script: { a: [answer(200, ["x", later("1 second", "y")], { after: "1 second" })], b: [answer(200, "from b")] },
        backends: { a: { maxConcurrency: 1 } }
      },
      (gateway) =>
        Effect.gen(function* () {
          const upload = { path: "/v1/files", method: "POST", raw: Buffer.from("x") }
          const first = yield* gateway.start(gateway.request(upload))
          assert.strictEqual(gateway.state("a").inflight, 1, "before the head")
          const second = yield* gateway.ask(upload)
          assert.strictEqual(second.headers["x-routed-node"], "b")
          yield* gateway.passUntil(() => gateway.transport.with("a")[0]?.answered === true)
          assert.strictEqual(gateway.state("a").inflight, 1, "before the last byte")
          assert.strictEqual((yield* gateway.join(first)).text, "xy")
          assert.strictEqual(gateway.state("a").inflight, 0)
        })
    )
  )

  it.effect("is passed on as it comes where its length is not known: it may be a stream of any kind", () =>
    withGateway(
      {
        script: {
          a: [
            answer(200, ['{"n":1}\n', ...Array.from({ length: 4 }, () => later("2 seconds", '{"n":2}\n'))], {
              headers: { "content-type": "application/x-ndjson" }
            })
          ]
        },
        backends: { a: { timeouts: { request: "5s", idle: "3s" } } }
      },
      (gateway) =>
        Effect.gen(function* () {
          const fiber = yield* gateway.start(gateway.request({ path: "/api/jobs" }))
          yield* gateway.passUntil(() => gateway.reading.text === '{"n":1}\n')
          assert.isBelow(gateway.now(), 500)
          const { broken, report, text } = yield* gateway.join(fiber)
          assert.deepStrictEqual([broken, report.end, text.length], [false, "complete", 40])
        })
    )
  )

  it.effect("is ended when it falls silent", () =>
    withGateway(
      { script: { a: [answer(200, ["x"], { end: "stall" })] }, backends: { a: { timeouts: { idle: "3s" } } } },
      (gateway) =>
        Effect.gen(function* () {
          const { broken, report } = yield* gateway.ask({ path: "/api/jobs" })
          assert.deepStrictEqual([broken, report.end], [true, "upstream_timeout"])
        })
    )
  )

  it.effect("has the length that the backend announced, with HEAD too", () =>
    Effect.gen(function* () {
      const get = yield* relayed(answer(200, [large(2 * MiB)], { headers: { "content-length": String(2 * MiB) } }), {
        method: "GET",
        path: "/file"
      })
      assert.deepStrictEqual([get.contentLength, get.text.length], [2 * MiB, 2 * MiB])
      const head = yield* relayed(answer(200, [], { headers: { "content-length": "12345" } }), {
        method: "HEAD",
        path: "/file"
      })
      assert.deepStrictEqual([head.contentLength, head.text, head.end], [12_345, "", "complete"])
    })
  )

  it.effect.each([204, 304])("may have no body at all: %i", (status) =>
    Effect.map(relayed(answer(status, [], { headers: {} }), { method: "GET", path: "/file" }), (found) => {
      assert.deepStrictEqual([found.status, found.text, found.broken, found.end], [status, "", false, "complete"])
    })
  )
})

const relayedEvents = (texts: ReadonlyArray<Piece>, more: Partial<Answer> = {}) =>
  relayed(stream(texts, more), { method: "GET", path: "/events" })

describe("a stream in a dialect that is not known", () => {
  it.effect("is complete when its connection ends in order", () =>
    Effect.gen(function* () {
      const { broken, end, failures, text } = yield* relayedEvents(["data: tick\n\n", "data: tock\n\n"])
      assert.deepStrictEqual([broken, end, failures, text], [false, "complete", 0, "data: tick\n\ndata: tock\n\n"])
    })
  )

  it.effect("may have no event at all", () =>
    Effect.gen(function* () {
      const { broken, end, text } = yield* relayedEvents([": nothing new\n\n"])
      assert.deepStrictEqual([broken, end, text], [false, "complete", ": nothing new\n\n"])
    })
  )

  it.effect("tells nothing about how quickly a backend comes to its first token", () =>
    withGateway(
      { script: { a: [stream(["data: tick\n\n"]), stream(["data: {}\n\n", "data: [DONE]\n\n"])] } },
      (gateway) =>
        Effect.gen(function* () {
          assert.isUndefined((yield* gateway.ask({ method: "GET", path: "/events" })).report.firstOutput)
          assert.strictEqual(gateway.state("a").firstToken.count, 0)
          assert.isNumber((yield* gateway.ask({ body: { stream: true } })).report.firstOutput)
          assert.strictEqual(gateway.state("a").firstToken.count, 1)
        })
    )
  )

  it.effect("has its connection broken when it is cut: no event of ours would be understood", () =>
    Effect.gen(function* () {
      const { broken, end, text } = yield* relayedEvents(["data: tick\n\n"], { end: "cut" })
      assert.deepStrictEqual([broken, end, text], [true, "upstream_truncated", "data: tick\n\n"])
    })
  )

  it.effect("may go on for longer than any answer that does not stream", () =>
    withGateway(
      {
        script: { a: [stream(Array.from({ length: 8 }, () => later("1 second", "data: tick\n\n")))] },
        backends: { a: { timeouts: { request: "3s" } } }
      },
      (gateway) =>
        Effect.map(gateway.ask({ method: "GET", path: "/events" }), ({ broken, report }) => {
          assert.deepStrictEqual([broken, report.end], [false, "complete"])
        })
    )
  )
})
