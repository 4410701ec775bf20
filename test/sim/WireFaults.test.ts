import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import { answerTo, faulty, streamed, whole } from "./Faulty.ts"
import { at, eventsOf, eventually, launch, parsed } from "./Harness.ts"
import { ask, dial, get, post } from "./RawClient.ts"

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
  it.live("answers while it is up, and resets whatever is asked while it is down", () =>
    Effect.gen(function* () {
      const simulator = yield* faulty({ kind: "flap", up: "1m", down: "1m" })
      assert.strictEqual((yield* ask(simulator.port, whole)).status, 200)
      yield* simulator.setFaults({ kind: "flap", up: 0, down: "1m" })
      assert.strictEqual((yield* ask(simulator.port, whole)).ending, "reset")
      assert.strictEqual((yield* ask(simulator.port, get("/health"))).ending, "reset")
      assert.strictEqual((yield* ask(simulator.port, get("/sim/stats"))).status, 200)
    })
  )
})

describe("refuse", () => {
  it.live("closes the port and all connections, and comes back on the same port", () =>
    Effect.gen(function* () {
      const simulator = yield* launch()
      const running = yield* dial(simulator.port, "")
      yield* simulator.setFaults({ kind: "refuse", for: "1m" })
      yield* running.ended
      assert.include(String(yield* Effect.flip(ask(simulator.port, whole))), "ECONNREFUSED")
      yield* simulator.setFaults({ kind: "refuse", for: "20ms" })
      const back = yield* Effect.retry(
        ask(simulator.port, whole),
        Schedule.max([Schedule.spaced("5 millis"), Schedule.recurs(800)])
      )
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
