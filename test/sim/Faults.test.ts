import { gunzipSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { FaultSpec } from "../../src/sim/Simulator.ts"
import { at, chatBody, chatText, eventsOf, eventually, launch, parsed, type Running } from "./Harness.ts"
import { ask, dial, parse, post } from "./RawClient.ts"

const whole = post("/v1/chat/completions", chatBody("x"))
const streamed = post("/v1/chat/completions", chatBody("x", { stream: true }))

/** A simulator of 10 tokens with one fault in force. */
const faulty = Effect.fnUntraced(function* (fault: FaultSpec) {
  const simulator = yield* launch()
  yield* simulator.setFaults(fault)
  return simulator
})

/** Its answer to a request, and that the fault is in the books. */
const answerTo = Effect.fnUntraced(function* (fault: FaultSpec, request: string) {
  const simulator = yield* faulty(fault)
  const answer = yield* ask(simulator.port, request)
  const stats = yield* eventually(simulator, ({ cancelled, failed, finished }) => finished + failed + cancelled === 1)
  assert.deepStrictEqual(stats.faultsPlayed, { [fault.kind]: 1 })
  assert.deepInclude(stats, { running: 0, waiting: 0 })
  return { ...answer, stats, events: eventsOf(answer.body.replace(/^data: .*\{"content":"$/m, "")) }
})

describe("status", () => {
  it.live("answers an error with Retry-After, code and message, and generates nothing", () =>
    Effect.gen(function* () {
      const answer = yield* answerTo({ kind: "status", status: 429, retryAfter: 7 }, streamed)
      assert.strictEqual(answer.status, 429)
      assert.match(answer.head, /^retry-after: 7$/im)
      assert.strictEqual(at(parsed(answer.body), "error", "type"), "rate_limit_error")
      assert.strictEqual(at(parsed(answer.body), "error", "code"), "rate_limit_exceeded")
      assert.deepInclude(answer.stats, { failed: 1, generatedTokens: 0 })
      const filtered = yield* answerTo(
        { kind: "status", status: 400, code: "content_filter", message: "not that" },
        whole
      )
      assert.deepStrictEqual(parsed(filtered.body), {
        error: { message: "not that", type: "invalid_request_error", param: null, code: "content_filter" }
      })
    })
  )
})

describe("reset", () => {
  it.live("resets the connection before the head", () =>
    Effect.gen(function* () {
      const answer = yield* answerTo({ kind: "reset" }, whole)
      assert.deepInclude(answer, { ending: "reset", head: "" })
      assert.strictEqual(answer.stats.failed, 1)
    })
  )
})

describe("silence", () => {
  it.live("never answers, and sees its client go", () =>
    Effect.gen(function* () {
      const simulator = yield* faulty({ kind: "silence" })
      const connection = yield* dial(simulator.port, whole)
      yield* eventually(simulator, ({ faultsPlayed }) => faultsPlayed["silence"] === 1)
      assert.strictEqual(connection.received(), "")
      yield* connection.leave
      yield* eventually(simulator, ({ cancelled }) => cancelled === 1)
    })
  )
})

describe("slow_first_token", () => {
  it.live("delays the first token while the slot is taken, and nothing else", () =>
    Effect.gen(function* () {
      const simulator = yield* faulty({ kind: "slow_first_token", delay: "60ms" })
      const connection = yield* dial(simulator.port, streamed)
      yield* eventually(simulator, ({ running }) => running === 1)
      assert.strictEqual(connection.received(), "")
      yield* connection.until((received) => received.includes("[DONE]"))
      const [request] = yield* simulator.requests()
      assert.strictEqual(request?.fault, "slow_first_token")
    })
  )

  it.live("can send the head before it", () =>
    Effect.gen(function* () {
      const simulator = yield* faulty({ kind: "slow_first_token", delay: "1m", headFirst: true })
      const connection = yield* dial(simulator.port, streamed)
      const head = yield* connection.until((received) => received.includes("\r\n\r\n"))
      assert.deepInclude(parse(head), { status: 200, body: "", complete: false })
    })
  )
})

describe("cut", () => {
  it.live("destroys the connection after so many tokens of a stream", () =>
    Effect.gen(function* () {
      const answer = yield* answerTo({ kind: "cut", afterTokens: 3 }, streamed)
      assert.strictEqual(answer.status, 200)
      assert.isFalse(answer.complete)
      assert.strictEqual(answer.events.length, 1 + 3)
      assert.deepInclude(answer.stats, { failed: 1, finished: 0, cancelled: 0 })
      const byDefault = yield* answerTo({ kind: "cut" }, streamed)
      assert.strictEqual(byDefault.events.length, 1 + 4)
      const atOnce = yield* answerTo({ kind: "cut", fraction: 0 }, streamed)
      assert.deepStrictEqual([atOnce.status, atOnce.events.length, atOnce.complete], [200, 1, false])
    })
  )

  it.live("destroys the connection in the middle of a body", () =>
    Effect.gen(function* () {
      const answer = yield* answerTo({ kind: "cut", fraction: 0.5 }, whole)
      assert.strictEqual(answer.status, 200)
      assert.isFalse(answer.complete)
      assert.isAbove(answer.body.length, 100)
    })
  )
})

describe("cut_before_done", () => {
  it.live("sends everything but the last mark, then destroys the connection", () =>
    Effect.gen(function* () {
      const answer = yield* answerTo({ kind: "cut_before_done" }, streamed)
      assert.isFalse(answer.complete)
      assert.strictEqual(at(answer.events, -1, "choices", 0, "finish_reason"), "stop")
    })
  )
})

describe("clean_cut", () => {
  it.live("ends the response properly, without a reason and without the last mark", () =>
    Effect.gen(function* () {
      const answer = yield* answerTo({ kind: "clean_cut", afterTokens: 2 }, streamed)
      assert.isTrue(answer.complete)
      assert.strictEqual(answer.events.length, 1 + 2)
      assert.strictEqual(at(answer.events, -1, "choices", 0, "finish_reason"), null)
      const body = yield* answerTo({ kind: "clean_cut" }, whole)
      assert.isTrue(body.complete)
      assert.throws(() => parsed(body.body))
    })
  )
})

describe("no_done", () => {
  it.live("leaves the last mark out, and nothing else", () =>
    Effect.gen(function* () {
      const answer = yield* answerTo({ kind: "no_done" }, streamed)
      assert.isTrue(answer.complete)
      assert.strictEqual(answer.events.length, 1 + 10 + 1)
      assert.strictEqual(at(answer.events, -1, "choices", 0, "finish_reason"), "stop")
    })
  )
})

describe("stall", () => {
  it.live("stops after so many tokens for ever, holds its slot, and sees its client go", () =>
    Effect.gen(function* () {
      const simulator = yield* faulty({ kind: "stall", afterTokens: 3 })
      const connection = yield* dial(simulator.port, streamed)
      yield* eventually(simulator, ({ generatedTokens }) => generatedTokens === 3)
      yield* connection.until((received) => eventsOf(parse(received).body).length === 4)
      assert.strictEqual((yield* simulator.stats).running, 1)
      yield* connection.leave
      const stats = yield* eventually(simulator, ({ cancelled }) => cancelled === 1)
      assert.deepInclude(stats, { running: 0, generatedTokens: 3 })
    })
  )

  it.live("before the first token lets the head and the opening out", () =>
    Effect.gen(function* () {
      const simulator = yield* faulty({ kind: "stall", afterTokens: 0 })
      const connection = yield* dial(simulator.port, streamed)
      const received = yield* connection.until((text) => text.includes('"role":"assistant"'))
      assert.strictEqual(eventsOf(parse(received).body).length, 1)
    })
  )

  it.live("goes on after its time, in a stream and in a body", () =>
    Effect.gen(function* () {
      const stream = yield* answerTo({ kind: "stall", afterTokens: 2, for: 30 }, streamed)
      assert.strictEqual(stream.events.at(-1), "[DONE]")
      const body = yield* answerTo({ kind: "stall", for: "30ms" }, whole)
      assert.isTrue(body.complete)
      assert.strictEqual(at(parsed(body.body), "object"), "chat.completion")
    })
  )
})

describe("malformed", () => {
  it.live("sends one event of broken JSON, and goes on", () =>
    Effect.gen(function* () {
      const answer = yield* answerTo({ kind: "malformed", afterTokens: 2 }, streamed)
      assert.isTrue(answer.complete)
      const lines = answer.body.split("\n").filter((line) => line !== "")
      assert.throws(() => parsed((lines[3] ?? "").slice("data: ".length)))
      assert.strictEqual(answer.events.length, 1 + 10 + 1 + 1)
      assert.isAbove(chatText(answer.events).length, 10)
      const body = yield* answerTo({ kind: "malformed" }, whole)
      assert.isTrue(body.complete)
      assert.throws(() => parsed(body.body))
    })
  )
})

describe("gzip", () => {
  const unzipped = (body: string) => gunzipSync(Buffer.from(body, "latin1")).toString()

  it.live("compresses a body that nobody asked to be compressed", () =>
    Effect.gen(function* () {
      const answer = yield* answerTo({ kind: "gzip" }, whole)
      assert.match(answer.head, /^content-encoding: gzip$/im)
      assert.match(answer.head, /^content-type: application\/json$/im)
      assert.isTrue(answer.complete)
      assert.strictEqual(at(parsed(unzipped(answer.body)), "object"), "chat.completion")
    })
  )

  it.live("compresses a stream, and flushes each event", () =>
    Effect.gen(function* () {
      const simulator = yield* faulty({ kind: "gzip" })
      yield* simulator.setFaults({ kind: "gzip" })
      const answer = yield* ask(simulator.port, streamed)
      assert.strictEqual(eventsOf(unzipped(answer.body)).at(-1), "[DONE]")
      const connection = yield* dial(simulator.port, streamed)
      yield* connection.until((received) => parse(received).complete)
      assert.isAtLeast(connection.arrivals(), 6)
    })
  )
})

describe("huge_head", () => {
  it.live("sends a head of that size before the answer", () =>
    Effect.gen(function* () {
      const answer = yield* answerTo({ kind: "huge_head" }, whole)
      assert.strictEqual(answer.status, 200)
      assert.isAbove(answer.head.length, 1_000_000)
      assert.isTrue(answer.complete)
      const small = yield* answerTo({ kind: "huge_head", bytes: 5000 }, whole)
      assert.isBelow(small.head.length, 6000)
    })
  )
})

describe("endless_head", () => {
  it.live("sends headers until its client goes", () =>
    Effect.gen(function* () {
      const simulator = yield* faulty({ kind: "endless_head" })
      const connection = yield* dial(simulator.port, whole)
      const received = yield* connection.until((text) => text.length > 2_000_000)
      assert.notInclude(received, "\r\n\r\n")
      yield* connection.leave
      yield* eventually(simulator, ({ cancelled }) => cancelled === 1)
    })
  )
})

describe("trickle", () => {
  it.live("sends one byte at a time", () =>
    Effect.gen(function* () {
      const answer = yield* answerTo({ kind: "trickle", bytesPerSecond: 1000 }, whole)
      assert.isTrue(answer.complete)
      assert.strictEqual(at(parsed(answer.body), "object"), "chat.completion")
      const simulator = yield* faulty({ kind: "trickle", bytesPerSecond: 200 })
      const connection = yield* dial(simulator.port, streamed)
      const received = yield* connection.until((text) => parse(text).body.length >= 5)
      assert.strictEqual(parse(received).body, "data:")
      assert.include(received, "\r\n\r\n1\r\nd\r\n1\r\na\r\n")
      yield* connection.leave
      yield* eventually(simulator, ({ cancelled }) => cancelled === 1)
    })
  )
})

describe("early_answer", () => {
  it.live("answers before the body is there, and closes", () =>
    Effect.gen(function* () {
      const simulator = yield* faulty({ kind: "early_answer", status: 413 })
      const head = "POST /v1/chat/completions HTTP/1.1\r\nhost: sim\r\ncontent-length: 900000\r\n\r\n"
      const answer = yield* ask(simulator.port, `${head}{"model":`)
      assert.strictEqual(answer.status, 413)
      assert.match(answer.head, /^connection: close$/im)
      assert.isTrue(answer.complete)
      assert.strictEqual((yield* simulator.stats).failed, 1)
    })
  )
})

describe("die", () => {
  it.live("destroys every connection of the server, and only of this one", () =>
    Effect.gen(function* () {
      const simulator = yield* launch()
      const neighbour = yield* launch()
      yield* simulator.setFaults([
        { kind: "stall", afterTokens: 1, times: 1 },
        { kind: "die", afterTokens: 2 }
      ])
      const running = yield* dial(simulator.port, streamed)
      yield* running.until((received) => received.includes("Weir"))
      yield* neighbour.setFaults({ kind: "stall", afterTokens: 1 })
      const elsewhere = yield* dial(neighbour.port, streamed)
      yield* elsewhere.until((received) => received.includes("Weir"))
      const dying = yield* ask(simulator.port, streamed)
      assert.isFalse(dying.complete)
      assert.strictEqual(eventsOf(dying.body).length, 1 + 2)
      yield* running.ended
      const stats = yield* eventually(simulator, (now) => now.running === 0)
      assert.deepInclude(stats, { failed: 2, cancelled: 0 })
      assert.strictEqual((yield* neighbour.stats).running, 1)
      yield* simulator.clearFaults
      assert.isTrue((yield* ask(simulator.port, streamed)).complete)
    })
  )
})

describe("flap", () => {
  const reaches = (simulator: Running) => Effect.map(ask(simulator.port, whole), ({ status }) => status === 200)

  it.live("answers while it is up and resets while it is down, by turns", () =>
    Effect.gen(function* () {
      const simulator = yield* faulty({ kind: "flap", up: 40, down: 40 })
      const turns: Array<boolean> = []
      const oneMore = Effect.map(reaches(simulator), (up) => {
        if (turns.at(-1) !== up) turns.push(up)
      })
      yield* Effect.repeat(oneMore, { until: () => turns.length >= 4 })
      assert.deepStrictEqual(turns.slice(0, 4), [true, false, true, false])
    })
  )
})

describe("refuse", () => {
  it.live("closes the port and all connections, and comes back on the same port", () =>
    Effect.gen(function* () {
      const simulator = yield* launch()
      const running = yield* dial(simulator.port, "")
      yield* simulator.setFaults({ kind: "refuse", for: "60ms" })
      yield* running.ended
      const refused = yield* Effect.flip(ask(simulator.port, whole))
      assert.include(String(refused), "ECONNREFUSED")
      const back = yield* Effect.retry(ask(simulator.port, whole), { times: 100_000 })
      assert.strictEqual(back.status, 200)
    })
  )

  it.live("is answered before it begins, when it was asked for over HTTP; and can be taken back", () =>
    Effect.gen(function* () {
      const simulator = yield* launch()
      const asked = yield* ask(simulator.port, post("/sim/faults", { kind: "refuse", for: "10m" }))
      assert.deepInclude(asked, { status: 200, complete: true })
      yield* eventually(simulator, ({ faultsPlayed }) => faultsPlayed["refuse"] === 1)
      assert.include(String(yield* Effect.flip(ask(simulator.port, whole))), "ECONNREFUSED")
      yield* simulator.clearFaults
      assert.strictEqual((yield* ask(simulator.port, whole)).status, 200)
    })
  )
})
