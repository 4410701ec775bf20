/** Many clients at once: what is lost, how much each backend gets, and what is left afterwards. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Schema } from "effect"
import { type Dispatcher, request } from "undici"
import { Simulator } from "../../src/sim/Simulator.ts"
import { ask } from "./Ask.ts"
import { eventually, type Gateway, serve } from "./Program.ts"

const body = (stream: boolean, tokens: number) =>
  JSON.stringify({ model: "sim-model", stream, max_tokens: tokens, messages: [{ role: "user", content: "Hello" }] })

interface Outcome {
  readonly status: number
  readonly node: string
  readonly text: string
}

/** One request; a connection that fails is an outcome too. */
const send = async (gateway: Gateway, stream: boolean, tokens: number): Promise<Outcome> => {
  const options = {
    method: "POST" as const,
    body: body(stream, tokens),
    headers: { "content-type": "application/json" }
  }
  const nodeOf = ({ headers }: Dispatcher.ResponseData) => String(headers["x-routed-node"] ?? "")
  return request(`${gateway.url}/v1/chat/completions`, options).then(
    async (response) => ({ status: response.statusCode, node: nodeOf(response), text: await response.body.text() }),
    () => ({ status: 0, node: "", text: "" })
  )
}

/** `clients` at once, each one request after the other, until `enough` says so. */
const load = (
  gateway: Gateway,
  clients: number,
  enough: (done: number) => boolean,
  stream: (n: number) => boolean,
  tokens = 4
) =>
  Effect.promise(async () => {
    const outcomes: Array<Outcome> = []
    let sent = 0
    const client = async (): Promise<void> => {
      while (!enough(sent)) outcomes.push(await send(gateway, stream(sent++), tokens))
    }
    await Promise.all(Array.from({ length: clients }, client))
    return outcomes
  })

const decodeStats = Schema.decodeUnknownSync(
  Schema.Struct({
    active_requests: Schema.Int,
    queue_depth: Schema.Int,
    backends: Schema.Array(Schema.Struct({ inflight: Schema.Int, health: Schema.String }))
  })
)

const idle = (gateway: Gateway) =>
  eventually(
    Effect.map(ask(`${gateway.url}/stats`), ({ json }) => {
      const { active_requests, backends, queue_depth } = decodeStats(json)
      const counts = [active_requests, queue_depth, ...backends.map(({ inflight }) => inflight)]
      return counts.every((count) => count === 0) ? true : undefined
    }),
    () => "all counts at 0"
  )

describe("64 clients on three backends", () => {
  it.live("lose nothing but streams that had begun when one is killed, and get it back when it is restarted", () =>
    Effect.gen(function* () {
      const engine = { ttft: Duration.millis(10), itl: Duration.millis(5), slots: 32 }
      const names = ["a", "b", "c"]
      const engines = yield* Effect.forEach(names, (name) => Simulator.make({ ...engine, name }))
      const gateway = yield* serve({
        health: { interval: "200ms", timeout: "1s" },
        backends: names.map((name, index) => ({ name, url: engines[index]?.url, adapter: "vllm" })),
        pools: [{ name: "default", backends: names }]
      })
      const [victim] = engines
      if (victim === undefined) throw new Error("there are three")
      let over = false
      const running = yield* Effect.forkChild(
        load(
          gateway,
          64,
          () => over,
          (n) => n % 2 === 0
        ),
        { startImmediately: true }
      )
      const started = (atLeast: number) =>
        eventually(
          Effect.map(victim.stats, (stats) => (stats.started >= atLeast ? true : undefined)),
          () => `${atLeast} requests at the victim`
        )
      yield* started(50)
      yield* victim.stop
      const others = engines.slice(1)
      const before = yield* Effect.forEach(others, ({ stats }) => stats)
      yield* eventually(
        Effect.map(
          Effect.forEach(others, ({ stats }) => stats),
          (now) =>
            now.every(({ finished }, index) => finished >= (before[index]?.finished ?? 0) + 100) ? true : undefined
        ),
        () => "the others go on"
      )
      // A backend that is back before a probe saw it gone waits until its circuit's cooldown is over.
      yield* eventually(
        Effect.map(ask(`${gateway.url}/stats`), ({ json }) =>
          decodeStats(json).backends[0]?.health === "unhealthy" ? true : undefined
        ),
        () => "the victim is known to be gone"
      )
      const reborn = yield* Simulator.make({ ...engine, name: "a", port: victim.port })
      // Not many: a backend that comes back is given work little by little.
      yield* eventually(
        Effect.map(reborn.stats, ({ finished }) => (finished >= 10 ? true : undefined)),
        () => "the victim serves again"
      )
      over = true
      const outcomes = yield* Fiber.join(running)
      const streamed = outcomes.filter(({ text }) => text.startsWith("data:"))
      const failed = outcomes.filter(({ status }) => status !== 200)
      assert.deepStrictEqual(failed, [])
      for (const { text } of streamed) {
        const complete = text.endsWith("data: [DONE]\n\n")
        const told = /data: \{"error":\{.*"code":"upstream_truncated"\}\}\n\n$/.test(text)
        assert.isTrue(complete !== told, text.slice(-300))
      }
      assert.isAbove(outcomes.length, 300)
      yield* idle(gateway)
    })
  )
})

describe("weights", () => {
  it.live("1:2:4 share the work 1:2:4 within 5 %", () =>
    Effect.gen(function* () {
      // Long answers: nearly all of the clients wait for engines then, however busy the machine is, and not for each other.
      const engine = { ttft: Duration.millis(80), itl: Duration.millis(2), slots: 128, slowdown: 0 }
      const names = ["one", "two", "four"]
      const engines = yield* Effect.forEach(names, (name) => Simulator.make({ ...engine, name }))
      const gateway = yield* serve({
        backends: names.map((name, index) => ({ name, url: engines[index]?.url, weight: 2 ** index }))
      })
      const total = 2100
      const outcomes = yield* load(
        gateway,
        56,
        (sent) => sent >= total,
        () => false
      )
      const share = (name: string) => outcomes.filter(({ node }) => node === name).length / outcomes.length
      for (const [index, name] of names.entries()) {
        const expected = 2 ** index / 7
        assert.closeTo(share(name), expected, expected * 0.05, name)
      }
      yield* idle(gateway)
    })
  )
})

describe("maxConcurrency", () => {
  it.live("is never exceeded at the upstream, and nothing is lost in the queue", () =>
    Effect.gen(function* () {
      const engines = yield* Effect.forEach([1, 2], (n) =>
        Simulator.make({ name: `e${n}`, slots: 100, ttft: Duration.millis(3), itl: Duration.millis(1) })
      )
      const gateway = yield* serve({
        backends: engines.map(({ url }, index) => ({ name: `e${index}`, url, maxConcurrency: 3 + index }))
      })
      const outcomes = yield* load(
        gateway,
        64,
        (sent) => sent >= 1000,
        (n) => n % 3 === 0
      )
      assert.deepStrictEqual(
        outcomes.filter(({ status }) => status !== 200),
        []
      )
      const highest = (yield* Effect.forEach(engines, ({ stats }) => stats)).map(({ maxRunning }) => maxRunning)
      assert.deepStrictEqual(highest, [3, 4])
      yield* idle(gateway)
    })
  )
})

describe("clients that leave", () => {
  it.live("clients that leave in every phase, in numbers, leave nothing behind", () =>
    Effect.gen(function* () {
      const engine = yield* Simulator.make({ slots: 4, tokens: 10_000, ttft: Duration.millis(5) })
      const gateway = yield* serve({
        backends: [{ name: "engine", url: engine.url, maxConcurrency: 4 }]
      })
      yield* Effect.promise(async () => {
        const leave = async (n: number) => {
          const controller = new AbortController()
          const pending = request(`${gateway.url}/v1/chat/completions`, {
            method: "POST",
            body: body(n % 2 === 0, 10_000),
            signal: controller.signal
          })
            .then(({ body: stream }) => stream.text())
            .catch(() => "left")
          setTimeout(() => controller.abort(), n)
          return pending
        }
        await Promise.all(Array.from({ length: 100 }, (_, n) => leave(n)))
      })
      yield* idle(gateway)
      const stats = yield* eventually(
        Effect.map(engine.stats, (now) => (now.running === 0 && now.waiting === 0 ? now : undefined)),
        () => "an idle engine"
      )
      assert.strictEqual(stats.cancelled, stats.started)
      const answer = yield* Effect.promise(() => send(gateway, false, 1))
      assert.strictEqual(answer.status, 200)
    })
  )
})
