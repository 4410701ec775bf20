/** How the program ends: nothing that had begun is lost. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber } from "effect"
import { Simulator } from "../../src/sim/Simulator.ts"
import { ask, chat, errorOf } from "./Ask.ts"
import { eventually, serve } from "./Program.ts"

const setUp = Effect.fnUntraced(function* (config: object = {}) {
  const simulator = yield* Simulator.make({ ttft: Duration.millis(10), itl: Duration.millis(20) })
  const gateway = yield* serve({ backends: [{ name: "engine", url: simulator.url }], ...config })
  const busy = eventually(
    Effect.map(simulator.stats, ({ running }) => (running > 0 ? true : undefined)),
    () => "a running request"
  )
  return { simulator, gateway, busy }
})

describe.each(["SIGTERM", "SIGINT"] as const)("%s", (signal) => {
  it.live("makes /readyz say no at once, lets what runs finish, refuses what is new, and ends with 0", () =>
    Effect.gen(function* () {
      const { busy, gateway } = yield* setUp()
      const stream = yield* Effect.forkChild(chat(gateway.url, { stream: true, max_tokens: 60 }), {
        startImmediately: true
      })
      const whole = yield* Effect.forkChild(chat(gateway.url, { max_tokens: 60 }), { startImmediately: true })
      yield* busy
      yield* gateway.signal(signal)
      const ready = yield* eventually(
        Effect.map(ask(`${gateway.url}/readyz`), (answer) => (answer.status === 503 ? answer : undefined)),
        () => "/readyz says no"
      )
      assert.deepInclude(ready.json, { status: "not_ready", reason: "shutting_down" })
      assert.strictEqual((yield* ask(`${gateway.url}/healthz`)).status, 200)
      const late = yield* chat(gateway.url, {}, { connection: "close" })
      assert.strictEqual(late.status, 503)
      assert.strictEqual(errorOf(late).code, "shutting_down")
      const [streamed, answered] = yield* Effect.all([Fiber.join(stream), Fiber.join(whole)])
      assert.match(streamed.text, /data: \[DONE\]\n\n$/)
      assert.strictEqual(answered.status, 200)
      assert.strictEqual(yield* gateway.ended, 0)
    })
  )
})

describe("the grace", () => {
  it.live("bounds how long a request may still run", () =>
    Effect.gen(function* () {
      const { busy, gateway } = yield* setUp({ server: { shutdownGrace: "300ms" } })
      const abandoned = yield* Effect.forkChild(Effect.exit(chat(gateway.url, { stream: true, max_tokens: 10_000 })), {
        startImmediately: true
      })
      yield* busy
      yield* gateway.signal("SIGTERM")
      assert.strictEqual(yield* gateway.ended, 0)
      yield* Fiber.await(abandoned)
    })
  )

  it.live("is not waited for where nothing runs", () =>
    Effect.gen(function* () {
      const { gateway } = yield* setUp()
      const asked = performance.now()
      yield* gateway.signal("SIGTERM")
      assert.strictEqual(yield* gateway.ended, 0)
      assert.isBelow(performance.now() - asked, 2000)
    })
  )
})
