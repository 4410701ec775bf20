import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { type Harness, type Question, type Setting, withGateway } from "./Harness.ts"
import { answer, refuse, type Step, silence, stream } from "./ScriptedTransport.ts"

const event = 'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'
const done = "data: [DONE]\n\n"
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
    assert.strictEqual(outcomes.failures(gateway.deadlines.now()), 0, `${name} failed outcomes`)
    assert.strictEqual(health.status, "healthy", name)
  }
}

describe("a second attempt beside the first", () => {
  it.effect("is made when the first takes long; the first output counts, and the other is cancelled", () =>
    withGateway(hedging(slow, quick), (gateway) =>
      Effect.gen(function* () {
        const reading = yield* ask(gateway)
        assert.strictEqual(reading.text, "quick")
        assert.strictEqual(reading.headers["x-routed-node"], "b")
        assert.strictEqual(reading.headers["x-weir-attempts"], "2")
        assert.deepStrictEqual(gateway.transport.ends, ["cancelled", "finished"])
        assertNoBlame(gateway)
      })
    )
  )

  it.effect("is not made when the first is quick enough", () =>
    withGateway(hedging(quick, quick), (gateway) =>
      Effect.gen(function* () {
        yield* ask(gateway)
        assert.strictEqual(gateway.transport.asked, "a")
      })
    )
  )

  it.effect("may fail, and may have failed: the other one is waited for", () =>
    Effect.gen(function* () {
      yield* withGateway(hedging(slow, refuse), (gateway) =>
        Effect.gen(function* () {
          assert.strictEqual((yield* ask(gateway)).text, "slow")
          assert.deepStrictEqual([gateway.state("a").failures, gateway.state("b").failures], [0, 1])
        })
      )
      const failing = answer(500, "oops", { after: "100 millis" })
      yield* withGateway(hedging(failing, answer(200, "later", { after: "200 millis" })), (gateway) =>
        Effect.gen(function* () {
          assert.strictEqual((yield* ask(gateway)).text, "later")
          assert.strictEqual(gateway.transport.asked, "ab")
          assert.deepStrictEqual([gateway.state("a").failures, gateway.state("b").failures], [1, 0])
        })
      )
    })
  )

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
  ])("$what has all of it cancelled at once, and blames nobody", ({ a, b }) =>
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
  it.effect("ends both attempts, and blames nobody", () =>
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

describe("a stream that was kept", () => {
  it.effect("is never joined by another attempt, however slowly it goes on", () =>
    withGateway(hedging(stream([event, { after: "2 seconds", data: event }, done]), quick), (gateway) =>
      Effect.gen(function* () {
        const reading = yield* ask(gateway, { body: { stream: true } })
        assert.isTrue(reading.text.endsWith(done))
        assert.strictEqual(gateway.transport.asked, "a")
      })
    )
  )
})
