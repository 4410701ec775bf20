/** Two attempts at once: what the backends must not be blamed for. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { type Harness, type Question, type Setting, withGateway } from "./Harness.ts"
import { answer, type Step, silence, stream } from "./ScriptedTransport.ts"

const slow = answer(200, "slow", { after: "1 second" })
const quick = answer(200, "quick", { after: "10 millis" })

/** Two backends in a pool that hedges after 50 ms. */
const hedging = (a: Step, b: Step, more: Partial<Setting> = {}): Setting => ({
  script: { a: [a], b: [b] },
  pool: { hedge: { after: "p50", maxRatio: 1 } },
  ...more
})

/** It knows how long its answers take. */
const warm = ({ registry, services }: Harness) => {
  const pool = registry.current().pools.get("default")
  assert.isDefined(pool)
  for (let n = 0; n < 40; n++) services.hedging.observed(pool, n % 2 === 0, 50)
}

const ask = (gateway: Harness, question?: Question) =>
  Effect.suspend(() => {
    warm(gateway)
    return gateway.ask(question)
  })

const assertNoBlame = (gateway: Harness) => {
  for (const name of ["a", "b"]) {
    const { failures, health, outcomes } = gateway.state(name)
    assert.strictEqual(failures, 0, `${name} failures`)
    assert.strictEqual(outcomes.failures(gateway.now()), 0, `${name} failed outcomes`)
    assert.strictEqual(health.status, "healthy", name)
  }
}

describe("a second attempt beside the first", () => {
  it.effect("is never made of a request that must not be sent twice", () =>
    withGateway(hedging(slow, quick), (gateway) =>
      Effect.gen(function* () {
        const reading = yield* ask(gateway, { path: "/v1/files", method: "POST" })
        assert.strictEqual(reading.text, "slow")
        assert.strictEqual(gateway.transport.asked, "a")
      })
    )
  )
})

describe.each([
  { phase: "while only the first runs", leaves: 30, asked: "a" },
  { phase: "while both run", leaves: 90, asked: "ab" }
])("a client that leaves $phase", ({ asked, leaves }) => {
  it.effect.each([
    { what: "before the head", a: silence, b: silence },
    { what: "before the first output", a: stream([": ping\n\n"], { end: "stall" }), b: stream([], { end: "stall" }) },
    {
      what: "in the middle of a whole",
      a: answer(200, ["{"], { end: "stall" }),
      b: answer(200, ["{"], { end: "stall" })
    }
  ])("a client that leaves $what has all of it cancelled at once, and blames no backend", ({ a, b }) =>
    withGateway(hedging(a, b), (gateway) =>
      Effect.gen(function* () {
        warm(gateway)
        // More of them than it takes to open a circuit, or to call a backend unhealthy.
        for (let n = 0; n < 6; n++) {
          const before = gateway.transport.asked.length
          const fiber = yield* gateway.start(gateway.request({ body: { stream: n % 2 === 0 } }))
          yield* TestClock.adjust(leaves)
          assert.strictEqual(gateway.transport.asked.slice(before), asked)
          yield* Fiber.interrupt(fiber)
          assert.notInclude(gateway.transport.ends, "open")
        }
        assertNoBlame(gateway)
      })
    )
  )
})

describe("the client's deadline", () => {
  it.effect("ends both attempts, and blames no backend", () =>
    withGateway(hedging(silence, silence), (gateway) =>
      Effect.gen(function* () {
        warm(gateway)
        for (let n = 0; n < 6; n++) {
          const error = yield* gateway.refusal({ headers: { "x-weir-timeout": "200ms" } })
          assert.strictEqual(error.code, "deadline_exceeded")
        }
        assertNoBlame(gateway)
      })
    )
  )
})
