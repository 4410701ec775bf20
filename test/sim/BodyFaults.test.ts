import { constants, gunzipSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect } from "effect"
import { answerTo, faulty, streamed, whole } from "./Faulty.ts"
import { at, chatText, eventsOf, eventually, launch, parsed } from "./Harness.ts"
import { ask, dial, parse } from "./RawClient.ts"

describe("slow_first_token", () => {
  it.live("delays the head and the first token, and nothing else", () =>
    Effect.gen(function* () {
      const simulator = yield* faulty({ kind: "slow_first_token", delay: "60ms" })
      const begin = yield* Clock.currentTimeMillis
      const connection = yield* dial(simulator.port, streamed)
      yield* connection.until((received) => received !== "")
      assert.isAtLeast((yield* Clock.currentTimeMillis) - begin, 60)
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

  it.live("a stall before the first token lets the head and the opening out", () =>
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

  it.live("compresses a body that was not asked to be compressed", () =>
    Effect.gen(function* () {
      const answer = yield* answerTo({ kind: "gzip" }, whole)
      assert.match(answer.head, /^content-encoding: gzip$/im)
      assert.match(answer.head, /^content-type: application\/json$/im)
      assert.isTrue(answer.complete)
      assert.strictEqual(at(parsed(unzipped(answer.body)), "object"), "chat.completion")
    })
  )

  it.live("compresses a stream", () =>
    Effect.gen(function* () {
      const simulator = yield* faulty({ kind: "gzip" })
      const answer = yield* ask(simulator.port, streamed)
      assert.strictEqual(eventsOf(unzipped(answer.body)).at(-1), "[DONE]")
    })
  )

  it.live("flushes each event of a stream", () =>
    Effect.gen(function* () {
      const simulator = yield* launch({ tokens: 100_000 })
      yield* simulator.setFaults({ kind: "gzip" })
      const connection = yield* dial(simulator.port, streamed)
      const readable = (received: string) =>
        gunzipSync(Buffer.from(parse(received).body, "latin1"), { finishFlush: constants.Z_SYNC_FLUSH }).toString()
      const begun = yield* connection.until((received) => readable(received).includes('"content":"Weir"'))
      assert.isFalse(parse(begun).complete)
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
