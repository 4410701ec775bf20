/** Sessions stay where their cache is, as long as that is a good idea. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Simulator } from "../../src/sim/Simulator.ts"
import { chat } from "./Ask.ts"
import { serve } from "./Program.ts"

describe("X-Session-Key", () => {
  it.live("keeps a session on its backend, and moves it when that dies", () =>
    Effect.gen(function* () {
      const engines = yield* Effect.forEach(["a", "b", "c"], (name) => Simulator.make({ name }))
      const gateway = yield* serve({
        backends: engines.map(({ url }, index) => ({ name: `e${index}`, url })),
        pools: [{ name: "default", backends: ["e0", "e1", "e2"], strategy: "round_robin" }]
      })
      const send = (session: string) => chat(gateway.url, { max_tokens: 1 }, { "x-session-key": session })
      const first = yield* send("s1")
      assert.strictEqual(first.headers.get("x-weir-sticky"), "miss")
      const home = first.headers.get("x-routed-node")
      for (let n = 0; n < 5; n++) {
        const again = yield* send("s1")
        assert.deepStrictEqual([again.headers.get("x-weir-sticky"), again.headers.get("x-routed-node")], ["hit", home])
        assert.strictEqual((yield* chat(gateway.url, { max_tokens: 1 })).headers.get("x-weir-sticky"), null)
      }
      yield* engines[Number(home?.slice(1))]?.stop ?? Effect.void
      const moved = yield* send("s1")
      assert.strictEqual(moved.status, 200)
      assert.strictEqual(moved.headers.get("x-weir-sticky"), "moved")
      const settled = yield* send("s1")
      assert.deepStrictEqual(
        [settled.headers.get("x-weir-sticky"), settled.headers.get("x-routed-node")],
        ["hit", moved.headers.get("x-routed-node")]
      )
    })
  )

  it.live("pays: the second turn of a session finds its prompt in the cache", () =>
    Effect.gen(function* () {
      const engines = yield* Effect.forEach(["a", "b", "c"], (name) => Simulator.make({ name }))
      const gateway = yield* serve({
        backends: engines.map(({ url }, index) => ({ name: `e${index}`, url })),
        pools: [{ name: "default", backends: ["e0", "e1", "e2"], strategy: "round_robin" }]
      })
      const messages = [{ role: "user", content: "A long story about rivers and weirs. ".repeat(40) }]
      const send = (headers: Record<string, string>) => chat(gateway.url, { max_tokens: 1, messages }, headers)
      yield* send({ "x-session-key": "s" })
      const second = yield* send({ "x-session-key": "s" })
      const cached: unknown = second.json
      assert.nestedProperty(cached, "usage.prompt_tokens_details.cached_tokens")
      assert.match(second.text, /"cached_tokens":[1-9]\d\d/)
    })
  )
})
