/** Answers of 3 MB under load, from an engine that has a fault beside one that has none. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import type { FaultSpec } from "../../src/sim/Simulator.ts"
import { ask, nodeOf, type Outcome } from "./Clients.ts"
import { atRest, backendOf, stage, statsOf } from "./Scene.ts"

/** A batch of embeddings as a program that indexes documents asks for it. */
const batch = 100
const dimensions = 1536
const fields = { input: Array.from({ length: batch }, (_, index) => `document ${index}`), dimensions }

const decode = Schema.decodeUnknownOption(
  Schema.fromJsonString(
    Schema.Struct({ data: Schema.Array(Schema.Struct({ embedding: Schema.Array(Schema.Finite) })) })
  )
)

/** What a client can tell of its answer; `whole`: every number is there. */
const whatCame = ({ broken, status, text }: Outcome): "whole" | "broken" | "a lie" | number => {
  if (broken) return "broken"
  if (status !== 200) return status
  const decoded = decode(text)
  const isWhole =
    decoded._tag === "Some" &&
    decoded.value.data.length === batch &&
    decoded.value.data.every(({ embedding }) => embedding.length === dimensions)
  return isWhole ? "whole" : "a lie"
}

interface Story {
  readonly what: string
  readonly fault: FaultSpec
  /** What those get that the engine with the fault answers. */
  readonly fromFaulty: ReturnType<typeof whatCame>
}

/** Of an answer of this size the head is passed on before its end is there: what breaks off later cannot be tried elsewhere. */
const stories: ReadonlyArray<Story> = [
  { what: "breaks off in the middle", fault: { kind: "cut", fraction: 0.7 }, fromFaulty: "broken" },
  { what: "packs them though nobody asked for it", fault: { kind: "gzip" }, fromFaulty: "whole" },
  { what: "stops for a while in the middle", fault: { kind: "stall", fraction: 0.7, for: "1s" }, fromFaulty: "whole" }
]

describe("large answers", () => {
  for (const { fault, fromFaulty, what } of stories) {
    it.live(
      `large answers of an engine that ${what}: none is shown as whole that is not, and the others are whole`,
      () =>
        Effect.scoped(
          Effect.gen(function* () {
            const scene = yield* stage({
              fault,
              backend: { breaker: { minRequests: 1000 } },
              pool: { strategy: "round_robin" }
            })
            const outcomes = yield* Effect.forEach(
              Array.from({ length: 16 }),
              () => ask(scene.gateway.url, { streamed: false, path: "/v1/embeddings", fields }),
              { concurrency: 8 }
            )
            for (const outcome of outcomes) {
              const isFaulty = nodeOf(outcome) === "faulty"
              assert.strictEqual(whatCame(outcome), isFaulty ? fromFaulty : "whole", nodeOf(outcome))
            }
            assert.sameMembers([...new Set(outcomes.map(nodeOf))], ["faulty", "healthy"])
            yield* atRest(scene)
            const { failures } = backendOf(yield* statsOf(scene.gateway), "faulty")
            if (fromFaulty === "broken") assert.isAtLeast(failures, 1)
            else assert.strictEqual(failures, 0)
          })
        ),
      60_000
    )
  }
})
