/** Two llama.cpp servers, each with one model under two names, each of these with one slot and one cache. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { Simulator } from "../../src/sim/Simulator.ts"
import { type Answer, ask, chat } from "./Ask.ts"
import { eventually, run, serve } from "./Program.ts"

const models = ["m", "m-2"]

const setUp = Effect.fnUntraced(function* (more: object = {}) {
  const engines = yield* Effect.forEach(["left", "right"], (name) => Simulator.make({ name, models, slots: 2 }))
  const gateway = yield* serve({
    backends: engines.map(({ url }, index) => ({ name: ["left", "right"][index], adapter: "llama-cpp", url, models })),
    models: [{ match: "m", instances: true }],
    ...more
  })
  /** Which instances were asked since the last look, such as `left/m-2`. */
  const asked = Effect.gen(function* () {
    const all: Array<string> = []
    for (const [index, engine] of engines.entries()) {
      const requests = yield* engine.requests()
      all.push(
        ...requests.flatMap(({ model }) => (model === undefined ? [] : [`${["left", "right"][index]}/${model}`]))
      )
      yield* engine.reset()
    }
    return all.toSorted()
  })
  const slowly = Effect.forEach(engines, ({ setFaults }) => setFaults({ kind: "slow_first_token", delay: "20s" }))
  const started = (count: number) =>
    eventually(
      Effect.gen(function* () {
        const counts = yield* Effect.forEach(engines, ({ stats }) => Effect.map(stats, (each) => each.started))
        return counts.reduce((sum, each) => sum + each, 0) >= count ? true : undefined
      }),
      () => `${count} requests at the engines`
    )
  return { asked, engines, slowly, started, url: gateway.url }
})

const stickyOf = ({ headers }: Answer) => headers.get("x-weir-sticky")

describe("four requests at once", () => {
  it.live("go to four different instances, and none waits while one is free", () =>
    Effect.gen(function* () {
      const { asked, engines, slowly, started, url } = yield* setUp()
      yield* slowly
      const running = yield* Effect.forEach([1, 2, 3, 4], () =>
        Effect.forkChild(chat(url, { model: "m" }), { startImmediately: true })
      )
      yield* started(4)
      assert.deepStrictEqual(yield* asked, ["left/m", "left/m-2", "right/m", "right/m-2"])
      yield* Effect.forEach(running, Fiber.interrupt)
      // What they held is free again: the next four find the same.
      yield* eventually(
        Effect.gen(function* () {
          const counts = yield* Effect.forEach(engines, ({ stats }) => Effect.map(stats, (each) => each.running))
          return counts.every((each) => each === 0) ? true : undefined
        }),
        () => "cancelled"
      )
      const again = yield* Effect.forEach([1, 2, 3, 4], () =>
        Effect.forkChild(chat(url, { model: "m", stream: true }), { startImmediately: true })
      )
      yield* started(4)
      assert.deepStrictEqual(yield* asked, ["left/m", "left/m-2", "right/m", "right/m-2"])
      yield* Effect.forEach(again, Fiber.interrupt)
    })
  )

  it.live("are one model in the list", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp()
      const { text } = yield* ask(`${url}/v1/models`)
      assert.deepStrictEqual(
        [...text.matchAll(/"id":"([^"]+)"/g)].map(([, id]) => id),
        ["m"]
      )
      assert.strictEqual((yield* ask(`${url}/v1/models/m`)).status, 200)
      assert.strictEqual((yield* ask(`${url}/v1/models/m-2`)).status, 404)
    })
  )
})

describe("a session", () => {
  const session = (name: string) => ({ "x-session-key": name })

  it.live("comes back to the instance that has its cache", () =>
    Effect.gen(function* () {
      const { asked, engines, started, url } = yield* setUp()
      yield* Effect.forEach(engines, ({ setFaults }) => setFaults({ kind: "slow_first_token", delay: "20s", times: 1 }))
      const others = yield* Effect.forEach([1, 2], () =>
        Effect.forkChild(chat(url, { model: "m" }), { startImmediately: true })
      )
      yield* started(2)
      assert.deepStrictEqual(yield* asked, ["left/m", "right/m"])
      assert.strictEqual(stickyOf(yield* chat(url, { model: "m", max_tokens: 1 }, session("s"))), "miss")
      yield* Effect.forEach(others, Fiber.interrupt)
      const first = yield* asked
      assert.match(first.join(" "), /^(left|right)\/m-2$/)
      for (let i = 0; i < 3; i++) {
        assert.strictEqual(stickyOf(yield* chat(url, { model: "m", max_tokens: 1 }, session("s"))), "hit")
        assert.deepStrictEqual(yield* asked, first)
      }
    })
  )

  it.live("loses it to the newest client, whose prompt is what is cached there now", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp({ pools: [{ name: "default", backends: ["left"], strategy: "failover" }] })
      const outcome = (name: string) => Effect.map(chat(url, { model: "m", max_tokens: 1 }, session(name)), stickyOf)
      const outcomes = yield* Effect.forEach(["s", "t", "s", "t"], outcome)
      assert.deepStrictEqual(outcomes, ["miss", "miss", "hit", "hit"], "an instance each")
      const more = yield* Effect.forEach(["u", "u", "t", "s"], outcome)
      assert.deepStrictEqual(more, ["miss", "hit", "hit", "miss"], "s was away for the longest")
    })
  )
})

describe("`weir sim` with several names for one model", () => {
  it.live("is found by discovery to have instances", () =>
    Effect.gen(function* () {
      const sim = yield* run(["sim", "--model", "m", "--model", "m-2", "--slots", "2", "--ttft", "1s"])
      const engine = yield* eventually(
        Effect.sync(() => /http:\S+/.exec(sim.stdout.join("\n"))?.[0]),
        () => sim.stderr.join("\n")
      )
      const { url } = yield* serve({
        backends: [{ name: "engine", adapter: "llama-cpp", url: engine }],
        models: [{ match: "m", instances: true }]
      })
      yield* eventually(
        Effect.map(ask(`${url}/v1/models`), ({ text }) => (text.includes('"m"') ? true : undefined)),
        () => "discovered"
      )
      const answers = yield* Effect.forEach([1, 2], () => chat(url, { model: "m", max_tokens: 1 }), { concurrency: 2 })
      const asked = answers.map(({ text }) => /"model":"([^"]+)"/.exec(text)?.[1] ?? "")
      assert.deepStrictEqual(asked.toSorted(), ["m", "m-2"])
    })
  )
})
