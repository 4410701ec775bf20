import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { chatBody, eventually, launch } from "./Harness.ts"
import { dial, post } from "./RawClient.ts"

const slow = { ttft: Duration.seconds(60), itl: Duration.seconds(60) }
const whole = post("/v1/chat/completions", chatBody("x"))
const streamed = post("/v1/chat/completions", chatBody("x", { stream: true }))
const empty = { running: 0, waiting: 0 }

describe("a client that leaves", () => {
  for (const [how, request] of [
    ["streams", streamed],
    ["does not stream", whole]
  ] as const) {
    it.live(`a client that leaves during its prompt, and ${how}, is counted as cancelled and frees its slot`, () =>
      Effect.gen(function* () {
        const simulator = yield* launch(slow)
        const connection = yield* dial(simulator.port, request)
        yield* eventually(simulator, ({ running }) => running === 1)
        yield* connection.leave
        const stats = yield* eventually(simulator, ({ cancelled }) => cancelled === 1)
        assert.deepInclude(stats, { ...empty, started: 1, finished: 0, failed: 0, generatedTokens: 0 })
      })
    )

    it.live(`a client that leaves in the queue, and ${how}, is counted as cancelled and leaves the queue`, () =>
      Effect.gen(function* () {
        const simulator = yield* launch({ ...slow, slots: 1 })
        yield* dial(simulator.port, whole)
        yield* eventually(simulator, ({ running }) => running === 1)
        const connection = yield* dial(simulator.port, request)
        yield* eventually(simulator, ({ waiting }) => waiting === 1)
        yield* connection.leave
        const stats = yield* eventually(simulator, ({ cancelled }) => cancelled === 1)
        assert.deepInclude(stats, { running: 1, waiting: 0 })
      })
    )

    it.live(`a client that leaves in a generation, and ${how}, is counted as cancelled and ends it`, () =>
      Effect.gen(function* () {
        const simulator = yield* launch({ tokens: 100_000 })
        const connection = yield* dial(simulator.port, request)
        yield* eventually(simulator, ({ generatedTokens }) => generatedTokens >= 3)
        yield* connection.leave
        const stats = yield* eventually(simulator, ({ cancelled }) => cancelled === 1)
        assert.deepInclude(stats, empty)
        assert.isBelow(stats.generatedTokens, 100_000)
      })
    )
  }

  it.live("a client that leaves before its body is complete is counted as cancelled", () =>
    Effect.gen(function* () {
      const simulator = yield* launch()
      const connection = yield* dial(simulator.port, whole.slice(0, -5))
      yield* eventually(simulator, ({ started }) => started === 1)
      yield* connection.leave
      yield* eventually(simulator, ({ cancelled }) => cancelled === 1)
    })
  )

  it.live("a client that leaves while an embedding is computed or a body is echoed is counted as cancelled", () =>
    Effect.gen(function* () {
      const simulator = yield* launch(slow)
      const embedding = yield* dial(simulator.port, post("/v1/embeddings", { model: "sim-model", input: "x" }))
      const echo = yield* dial(simulator.port, post("/v1/echo", "hello").slice(0, -3))
      yield* eventually(simulator, ({ running, started }) => running === 1 && started === 2)
      yield* embedding.leave
      yield* echo.leave
      assert.deepInclude(yield* eventually(simulator, ({ cancelled }) => cancelled === 2), empty)
    })
  )

  it.live("makes room for the next that waits", () =>
    Effect.gen(function* () {
      const simulator = yield* launch({ slots: 1 })
      yield* simulator.setFaults({ kind: "stall", afterTokens: 1, times: 1 })
      const stalled = yield* dial(simulator.port, streamed)
      yield* stalled.until((received) => received.includes("Weir"))
      const next = yield* dial(simulator.port, streamed)
      yield* eventually(simulator, ({ waiting }) => waiting === 1)
      yield* stalled.leave
      yield* next.until((received) => received.includes("[DONE]"))
      const stats = yield* eventually(simulator, ({ finished }) => finished === 1)
      assert.deepInclude(stats, { started: 2, cancelled: 1, maxRunning: 1 })
    })
  )

  it.live("a client that leaves after its answer has ended is counted as finished", () =>
    Effect.gen(function* () {
      const simulator = yield* launch()
      const connection = yield* dial(simulator.port, streamed)
      yield* connection.until((received) => received.includes("[DONE]"))
      yield* connection.ended
      const stats = yield* eventually(simulator, ({ finished }) => finished === 1)
      assert.strictEqual(stats.cancelled, 0)
    })
  )
})
