/** Clients without a key are limited like all others: guessing is not free, and takes nothing from clients with one. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Simulator } from "../../src/sim/Simulator.ts"
import { ask, chat, errorOf } from "./Ask.ts"
import { serve } from "./Program.ts"

const setUp = Effect.gen(function* () {
  const simulator = yield* Simulator.make()
  const gateway = yield* serve({
    listeners: [
      { name: "limited", port: 0, rateLimit: { perSecond: 1, burst: 5 } },
      { name: "other", port: 0 }
    ],
    backends: [{ name: "engine", url: simulator.url, models: ["sim-model"] }],
    keys: [{ name: "team", key: "the-key" }]
  })
  return { gateway, simulator }
})

describe("guessing keys", () => {
  it.live("is limited by address before any key is looked at, and leaves other listeners alone", () =>
    Effect.gen(function* () {
      const { gateway, simulator } = yield* setUp
      const url = gateway.urlOf("limited")
      const statuses: Array<number> = []
      for (let n = 0; n < 12; n++) {
        const guess = n % 3 === 0 ? {} : { authorization: `Bearer guess-${n}` }
        const answer = yield* chat(url, {}, guess)
        statuses.push(answer.status)
        if (answer.status !== 429) continue
        assert.strictEqual(errorOf(answer).code, "rate_limit_exceeded")
        assert.match(answer.headers.get("retry-after") ?? "", /^[1-9]\d?$/)
      }
      assert.deepStrictEqual([...new Set(statuses)], [401, 429])
      assert.isAtMost(statuses.filter((status) => status === 401).length, 7)
      // The right key is no way around it, nor is a page of one's own: it is the address that is limited.
      assert.strictEqual((yield* chat(url, {}, { authorization: "Bearer the-key" })).status, 429)
      assert.strictEqual((yield* ask(`${url}/healthz`)).status, 200)
      const elsewhere = yield* chat(gateway.urlOf("other"), { max_tokens: 1 }, { authorization: "Bearer the-key" })
      assert.strictEqual(elsewhere.status, 200)
      assert.strictEqual((yield* simulator.stats).started, 1, "nothing else reached the engine")
    })
  )
})
