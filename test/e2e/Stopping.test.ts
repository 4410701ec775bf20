/** How the program ends: nothing that had begun is lost. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber } from "effect"
import { Agent, request } from "undici"
import { Simulator } from "../../src/sim/Simulator.ts"
import { failureOf, load, summaryOf, tally } from "../chaos/Load.ts"
import { ask, chat, errorOf, untilReadyz } from "./Ask.ts"
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
      const ready = yield* untilReadyz(gateway.url, 503)
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

describe("a stop under the load of 64 clients", () => {
  it.live("loses no request but those on connections that were opened after it", () =>
    Effect.gen(function* () {
      const engine = { ttft: Duration.millis(5), itl: Duration.millis(5), slots: 64 }
      const engines = yield* Effect.forEach(["a", "b"], (name) => Simulator.make({ ...engine, name }))
      const gateway = yield* serve({ backends: engines.map(({ url }, index) => ({ name: `e${index}`, url })) })
      let over = false
      const running = yield* Effect.forkChild(
        load(gateway.url, { clients: 64, more: () => !over, streamed: (n) => n % 3 === 0, tokens: 10 }),
        { startImmediately: true }
      )
      yield* eventually(
        Effect.map(
          Effect.forEach(engines, ({ stats }) => stats),
          (stats) => (stats.every(({ finished }) => finished > 200) ? true : undefined)
        ),
        () => "the load is on"
      )
      const stoppedAt = performance.now()
      yield* gateway.signal("SIGTERM")
      assert.strictEqual(yield* gateway.ended, 0)
      const took = performance.now() - stoppedAt
      over = true
      const tries = yield* Fiber.join(running)
      const opened = tries.filter(({ connectedAt = Number.POSITIVE_INFINITY }) => connectedAt < stoppedAt)
      const failures = opened.map(failureOf).filter((reason) => reason !== undefined)
      const what = `stop: 64 clients, ended with 0 after ${Math.round(took)} ms, ${tries.length - opened.length} on later connections`
      process.stdout.write(summaryOf(what, opened, failures.length))
      assert.deepStrictEqual(tally(failures), {})
      // Clients are told on the connections that they have, with an answer.
      const last = opened.filter(({ headers }) => headers["connection"] === "close")
      assert.isAtLeast(last.length, 60)
      assert.isTrue(opened.some(({ millis, sentAt }) => sentAt < stoppedAt && sentAt + millis > stoppedAt))
    })
  )
})

it.live("a client that was idle when the end began is answered once more on its connection, and told to close it", () =>
  Effect.gen(function* () {
    const { gateway } = yield* setUp()
    const agent = new Agent({ connections: 1 })
    const get = Effect.promise(async () => {
      const { body, headers, statusCode } = await request(`${gateway.url}/healthz`, { dispatcher: agent })
      await body.dump()
      return { status: statusCode, connection: headers["connection"] }
    })
    assert.deepStrictEqual(yield* get, { status: 200, connection: "keep-alive" })
    yield* gateway.signal("SIGTERM")
    yield* eventually(
      Effect.sync(() => (gateway.stderr.some((line) => line.includes('"stopping"')) ? true : undefined)),
      () => gateway.stderr.join("\n")
    )
    assert.deepStrictEqual(yield* get, { status: 200, connection: "close" })
    assert.strictEqual(yield* gateway.ended, 0)
  })
)

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
