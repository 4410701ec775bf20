/** Conversations find their prompt where they were, without a session key. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Simulator } from "../../src/sim/Simulator.ts"
import { chat } from "./Ask.ts"
import { serve } from "./Program.ts"

const Answer = Schema.Struct({
  usage: Schema.Struct({
    prompt_tokens: Schema.Number,
    prompt_tokens_details: Schema.Struct({ cached_tokens: Schema.Number })
  })
})
const decode = Schema.decodeUnknownEffect(Answer)

const said = (conversation: number, turn: number): string =>
  `Turn ${turn} of story ${conversation}: ${`what became of weir number ${conversation}, and why? `.repeat(20)}`

/** Six conversations, one turn of each after the other; the share of the prompts' tokens that were cached, by turn. */
const converse = Effect.fnUntraced(function* (strategy: string) {
  const engines = yield* Effect.forEach(["a", "b", "c"], (name) => Simulator.make({ name }))
  const gateway = yield* serve({
    backends: engines.map(({ url }, index) => ({ name: `e${index}`, url })),
    pools: [{ name: "default", backends: ["e0", "e1", "e2"], strategy }]
  })
  const shares: Array<number> = []
  for (let turn = 1; turn <= 4; turn++) {
    let [prompt, cached] = [0, 0]
    // An odd number, so that going round does not happen to meet the same engine.
    for (let conversation = 0; conversation < 7; conversation++) {
      const messages = Array.from({ length: turn }, (_, n) => ({ role: "user", content: said(conversation, n) }))
      const { json } = yield* chat(gateway.url, { max_tokens: 1, messages })
      const { usage } = yield* decode(json)
      prompt += usage.prompt_tokens
      cached += usage.prompt_tokens_details.cached_tokens
    }
    shares.push(cached / prompt)
  }
  return shares
})

describe("prefix_aware", () => {
  it.live("sends each turn of a conversation to where the turns before it were", () =>
    Effect.gen(function* () {
      const [, second = 0, third = 0, fourth = 0] = yield* converse("prefix_aware")
      // All but what the turn adds, less what does not fill a block.
      assert.isAbove(second, 0.4)
      assert.isAbove(third, 0.6)
      assert.isAbove(fourth, 0.7)
    })
  )

  it.live("round_robin does not keep a conversation where it was", () =>
    Effect.gen(function* () {
      const [, second = 0] = yield* converse("round_robin")
      assert.isBelow(second, 0.2)
    })
  )
})
