import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { makeRandom } from "../../src/sim/Random.ts"
import type { FaultSpec } from "../../src/sim/Simulator.ts"
import { chatBody, eventually, launch } from "./Harness.ts"
import { dial, post } from "./RawClient.ts"

const everyKind: ReadonlyArray<FaultSpec> = [
  { kind: "status", status: 503, ratio: 0.1 },
  { kind: "reset", ratio: 0.1 },
  { kind: "slow_first_token", delay: 20, ratio: 0.1 },
  { kind: "cut", ratio: 0.1 },
  { kind: "cut_before_done", ratio: 0.1 },
  { kind: "stall", for: 20, ratio: 0.1 },
  { kind: "trickle", bytesPerSecond: 1000, ratio: 0.1 },
  { kind: "gzip", ratio: 0.1 },
  { kind: "huge_head", bytes: 20_000, ratio: 0.1 },
  { kind: "early_answer", ratio: 0.1 },
  { kind: "die", ratio: 0.02 }
]

describe("a storm of faults and of clients that leave", () => {
  it.live("every request is accounted for, and no slot is taken", () =>
    Effect.gen(function* () {
      const simulator = yield* launch({ slots: 4, failRate: 0.05 })
      yield* simulator.setFaults(everyKind)
      const random = makeRandom(9)
      const visit = Effect.suspend(() => {
        const request = post("/v1/chat/completions", chatBody("x", { stream: random() < 0.5 }))
        const patience = random() < 0.4 ? Math.ceil(random() * 30) : 400
        const stay = Effect.flatMap(dial(simulator.port, request), (connection) => connection.ended)
        return Effect.ignore(Effect.timeout(Effect.scoped(stay), patience))
      })
      yield* Effect.all(
        Array.from({ length: 200 }, () => visit),
        { concurrency: 20, discard: true }
      )
      const stats = yield* eventually(
        simulator,
        ({ cancelled, failed, finished, started }) => started === finished + cancelled + failed
      )
      assert.deepInclude(stats, { running: 0, waiting: 0 })
      assert.isAtMost(stats.maxRunning, 4)
      assert.isTrue([stats.finished, stats.cancelled, stats.failed].every((count) => count > 0))
    })
  )
})
