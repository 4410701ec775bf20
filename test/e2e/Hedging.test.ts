/** A request that takes longer than most is given to a second engine, and the first one is told to stop. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { Simulator } from "../../src/sim/Simulator.ts"
import { chat } from "./Ask.ts"
import { eventually, serve } from "./Program.ts"

const setUp = Effect.fnUntraced(function* (hedge: object = { after: "p95", maxRatio: 0.5 }) {
  const [first, second] = [
    yield* Simulator.make({ name: "first", ttft: Duration.millis(20), itl: Duration.millis(1) }),
    yield* Simulator.make({ name: "second", ttft: Duration.millis(20), itl: Duration.millis(1) })
  ]
  const gateway = yield* serve({
    backends: [
      { name: "first", url: first.url, models: ["sim-model"] },
      { name: "second", url: second.url, models: ["sim-model"] }
    ],
    pools: [{ name: "default", backends: ["first", "second"], strategy: "failover", hedge }]
  })
  const ask = (stream: boolean) => chat(gateway.url, { max_tokens: 4, stream })
  /** Until the percentile is known, which is worked out once a second. */
  const learn = Effect.fnUntraced(function* (stream: boolean) {
    for (let i = 0; i < 25; i++) yield* ask(stream)
    assert.isAtMost((yield* second.stats).started, 5, "hedged by chance at most")
    yield* second.reset()
    yield* first.reset()
  })
  return { ask, first, learn, second }
})

const cancelledAt = ({ stats }: Simulator["Service"]) =>
  eventually(
    Effect.map(stats, ({ cancelled, running }) => (cancelled > 0 && running === 0 ? cancelled : undefined)),
    () => "cancelled at the engine"
  )

describe("a hedged request", () => {
  it.live.each([true, false])("is answered by the quicker, and cancelled at the other (streams: %s)", (stream) =>
    Effect.gen(function* () {
      const { ask, first, learn, second } = yield* setUp()
      yield* learn(stream)
      yield* first.setFaults({ kind: "slow_first_token", delay: "60s", times: 1 })
      const answer = yield* ask(stream)
      assert.strictEqual(answer.status, 200)
      assert.deepStrictEqual(
        [answer.headers.get("x-routed-node"), answer.headers.get("x-weir-attempts")],
        ["second", "2"]
      )
      if (stream) assert.match(answer.text, /data: \[DONE\]\s*$/)
      assert.strictEqual(yield* cancelledAt(first), 1)
      assert.deepInclude(yield* second.stats, { cancelled: 0, failed: 0, finished: 1 })
    })
  )

  it.live("is cancelled at the second engine where the first is quicker after all", () =>
    Effect.gen(function* () {
      const { ask, first, learn, second } = yield* setUp()
      yield* learn(true)
      yield* first.setFaults({ kind: "slow_first_token", delay: "1s", times: 1 })
      yield* second.setFaults({ kind: "slow_first_token", delay: "60s", times: 1 })
      const answer = yield* ask(true)
      assert.deepStrictEqual(
        [answer.headers.get("x-routed-node"), answer.headers.get("x-weir-attempts")],
        ["first", "2"]
      )
      assert.match(answer.text, /data: \[DONE\]\s*$/)
      assert.strictEqual(yield* cancelledAt(second), 1)
    })
  )

  it.live("is given up at both engines when its client leaves", () =>
    Effect.gen(function* () {
      const { ask, first, learn, second } = yield* setUp()
      yield* learn(true)
      yield* Effect.forEach([first, second], ({ setFaults }) => setFaults({ kind: "slow_first_token", delay: "60s" }))
      const client = yield* Effect.forkChild(ask(true), { startImmediately: true })
      yield* eventually(
        Effect.map(second.stats, ({ started }) => (started > 0 ? true : undefined)),
        () => "hedged"
      )
      yield* Effect.andThen(
        Effect.sync(() => client.interruptUnsafe()),
        Effect.forEach([first, second], cancelledAt)
      )
    })
  )

  it.live("is rare: no more than the pool's share of its requests", () =>
    Effect.gen(function* () {
      const { ask, first, learn, second } = yield* setUp({ after: "p50", maxRatio: 0.1 })
      yield* learn(false)
      yield* first.setFaults({ kind: "slow_first_token", delay: "100ms" })
      yield* Effect.forEach(Array.from({ length: 40 }), () => ask(false), { concurrency: 4 })
      const { started } = yield* second.stats
      assert.isAtLeast(started, 1)
      assert.isAtMost(started, 7, "a tenth of 65 requests")
    })
  )
})
