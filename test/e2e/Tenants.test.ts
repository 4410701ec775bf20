/** Three listeners as three tenants: each with its own pool, keys and limits, none of them the others' business. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { Simulator } from "../../src/sim/Simulator.ts"
import { ask, chat, errorOf } from "./Ask.ts"
import { eventually, serve } from "./Program.ts"

const tenants = ["red", "green", "blue"]

const bearer = (key: string) => ({ authorization: `Bearer ${key}` })

const setUp = Effect.fnUntraced(function* () {
  const engines = yield* Effect.forEach(tenants, (name) => Simulator.make({ name, models: ["shared", `${name}-only`] }))
  const gateway = yield* serve({
    listeners: [
      { name: "red", port: 0, pool: "red", rateLimit: { perSecond: 1, burst: 4 } },
      { name: "green", port: 0, pool: "green" },
      { name: "blue", port: 0, pool: "blue", auth: false }
    ],
    backends: engines.map(({ url }, index) => ({
      name: `${tenants[index]}-gpu`,
      url,
      models: ["shared", `${tenants[index]}-only`]
    })),
    pools: tenants.map((name) => ({
      name,
      backends: [`${name}-gpu`],
      ...(name === "blue" && { admission: { maxConcurrent: 1, maxQueue: 0 } })
    })),
    keys: [
      { name: "red-team", key: "sk-red", pools: ["red"] },
      { name: "green-team", key: "sk-green", pools: ["green"], limits: { requestsPerMinute: 2 } },
      { name: "everybody", key: "sk-all" }
    ]
  })
  const urlOf = (tenant: string) => gateway.urlOf(tenant)
  const modelsOf = (tenant: string, key: string) => ask(`${urlOf(tenant)}/v1/models`, { headers: bearer(key) })
  return { engines, urlOf, modelsOf }
})

const short = { model: "shared", max_tokens: 1 }

describe("three tenants", () => {
  it.live("are served by their own engines, and see their own models", () =>
    Effect.gen(function* () {
      const { engines, modelsOf, urlOf } = yield* setUp()
      for (const tenant of tenants) {
        const answer = yield* chat(urlOf(tenant), short, bearer("sk-all"))
        assert.deepStrictEqual([answer.status, answer.headers.get("x-routed-node")], [200, `${tenant}-gpu`])
        const { text: listed } = yield* modelsOf(tenant, "sk-all")
        for (const other of tenants) assert.strictEqual(listed.includes(`${other}-only`), other === tenant)
        const foreign = yield* chat(
          urlOf(tenant),
          { model: tenant === "red" ? "blue-only" : "red-only" },
          bearer("sk-all")
        )
        assert.strictEqual(errorOf(foreign).code, "model_not_found")
      }
      const started = yield* Effect.forEach(engines, ({ stats }) => Effect.map(stats, (each) => each.started))
      assert.deepStrictEqual(started, [1, 1, 1])
    })
  )

  it.live("keep their doors with their own keys", () =>
    Effect.gen(function* () {
      const { urlOf } = yield* setUp()
      const outcome = (tenant: string, headers: Record<string, string>) =>
        Effect.map(chat(urlOf(tenant), short, headers), (answer) =>
          answer.status === 200 ? "served" : errorOf(answer).code
        )
      assert.strictEqual(yield* outcome("red", bearer("sk-red")), "served")
      assert.strictEqual(yield* outcome("red", bearer("sk-green")), "pool_not_allowed")
      assert.strictEqual(yield* outcome("red", {}), "invalid_api_key")
      assert.strictEqual(yield* outcome("green", bearer("sk-green")), "served")
      assert.strictEqual(yield* outcome("green", bearer("sk-red")), "pool_not_allowed")
      assert.strictEqual(yield* outcome("green", bearer("sk-blue")), "invalid_api_key")
      assert.strictEqual(yield* outcome("blue", {}), "served")
    })
  )

  it.live("do not feel the limits of each other: of an address, of a key, of a pool", () =>
    Effect.gen(function* () {
      const { engines, urlOf } = yield* setUp()
      const statusOf = (tenant: string, key: string) =>
        Effect.map(chat(urlOf(tenant), short, bearer(key)), ({ status }) => status)
      // Red's address limit: four at once, one a second.
      const burst = yield* Effect.forEach([1, 2, 3, 4, 5, 6, 7, 8], () => statusOf("red", "sk-red"), { concurrency: 8 })
      assert.include(burst, 429)
      assert.include(burst, 200)
      // Green's key limit, while red has none left.
      assert.deepStrictEqual(yield* Effect.forEach([1, 2, 3], () => statusOf("green", "sk-green")), [200, 200, 429])
      assert.strictEqual(yield* statusOf("green", "sk-all"), 200, "another key has a limit of its own, or none")
      // Blue's pool is full with one.
      const blue = engines[2]
      yield* blue?.setFaults({ kind: "slow_first_token", delay: "20s", times: 1 }) ?? Effect.void
      const long = yield* Effect.forkChild(chat(urlOf("blue"), short))
      yield* eventually(
        Effect.map(blue?.stats ?? Effect.die("no engine"), ({ started }) => (started > 0 ? true : undefined)),
        () => "blue at work"
      )
      const full = yield* chat(urlOf("blue"), short)
      assert.deepStrictEqual([full.status, errorOf(full).code], [503, "queue_full"])
      assert.strictEqual(yield* statusOf("green", "sk-all"), 200)
      yield* Fiber.interrupt(long)
      yield* eventually(
        Effect.map(chat(urlOf("blue"), short), ({ status }) => (status === 200 ? true : undefined)),
        () => "blue free again"
      )
    })
  )
})
