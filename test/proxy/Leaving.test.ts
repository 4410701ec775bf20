/** A client that goes: the backend hears of it at once, nothing stays behind, and nobody is to blame. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Scheduler } from "effect"
import { TestClock } from "effect/testing"
import { type Harness, type Question, type Setting, withGateway } from "./Harness.ts"
import { answer, refuse, reset, silence, stream } from "./ScriptedTransport.ts"

const event = 'data: {"choices":[]}\n\n'
const large = Buffer.alloc(2 * 1024 * 1024, "x")
const streamed: Question = { body: { stream: true } }

interface Phase {
  readonly phase: string
  readonly setting: Setting
  readonly question?: Question
  /** Whether the phase was reached. */
  readonly reached: (gateway: Harness) => boolean
  /** How its exchanges with backends end. */
  readonly ends: ReadonlyArray<string>
}

const asked = (gateway: Harness) => gateway.transport.exchanges.length > 0

const phases: ReadonlyArray<Phase> = [
  { phase: "before the head", setting: { script: { a: [silence] } }, reached: asked, ends: ["cancelled"] },
  {
    phase: "while it waits for the first token",
    setting: { script: { a: [stream([": hi\n\n"], { end: "stall" })] } },
    question: streamed,
    reached: (gateway) => gateway.transport.exchanges[0]?.read === 1,
    ends: ["cancelled"]
  },
  {
    phase: "in the middle of a stream",
    setting: { script: { a: [stream([event, event], { end: "stall" })] } },
    question: streamed,
    reached: (gateway) => gateway.reading.text === event + event,
    ends: ["cancelled"]
  },
  {
    phase: "in the middle of an answer that does not stream",
    setting: { script: { a: [answer(200, ["{"], { end: "stall" })] } },
    reached: (gateway) => gateway.transport.exchanges[0]?.read === 1,
    ends: ["cancelled"]
  },
  {
    phase: "in the middle of a large answer",
    setting: { script: { a: [answer(200, [large], { end: "stall" })] } },
    reached: (gateway) => gateway.reading.text !== "",
    ends: ["cancelled"]
  },
  {
    phase: "in the middle of something that is passed through",
    setting: { script: { a: [answer(200, ["x"], { end: "stall" })] } },
    question: { path: "/api/jobs" },
    reached: (gateway) => gateway.reading.text === "x",
    ends: ["cancelled"]
  },
  {
    phase: "between two attempts",
    setting: { script: { a: [reset(), silence] }, pool: { retry: { initialDelay: "10s", maxDelay: "10s" } } },
    reached: (gateway) => gateway.now() > 3000,
    ends: ["reset"]
  },
  {
    phase: "during its second attempt",
    setting: { script: { a: [refuse], b: [silence] } },
    reached: (gateway) => gateway.transport.exchanges.length === 2,
    ends: ["connect", "cancelled"]
  },
  {
    phase: "while the only backend rests",
    setting: { script: { a: [answer(429, "", { headers: { "retry-after": "2" } }), silence] } },
    reached: (gateway) => gateway.now() > 1000,
    ends: ["cancelled"]
  }
]

const assertNobodyBlamed = (gateway: Harness) => {
  for (const { state } of gateway.registry.current().backends.values()) {
    assert.strictEqual(state.circuit.phase, "closed")
    assert.strictEqual(state.health.standing, "first")
  }
}

describe("a client that leaves", () => {
  const leave = ({ ends, question, reached, setting }: Phase) =>
    withGateway(setting, (gateway) =>
      Effect.gen(function* () {
        const fiber = yield* gateway.start(gateway.request(question))
        yield* gateway.passUntil(() => reached(gateway))
        yield* Fiber.interrupt(fiber)
        gateway.assertIdle()
        assert.deepStrictEqual(gateway.transport.ends, ends)
        assertNobodyBlamed(gateway)
        const before = gateway.transport.exchanges.length
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(gateway.transport.exchanges.length, before, "nothing is sent for who has gone")
      })
    )

  it.effect.each(phases)("a client that leaves $phase is noticed at once", leave)

  const script = { a: [answer(500, "", { after: 0 })], b: [stream([event, "data: [DONE]\n\n"], { after: 0 })] }

  it.effect("is noticed wherever in its way it was, at every single step of it", () =>
    withGateway({ script, backends: { a: { breaker: { minRequests: 1_000_000 } } } }, (gateway) =>
      Effect.gen(function* () {
        let completed = 0
        for (let steps = 0; completed < 3; steps++) {
          const fiber = yield* gateway.start(
            Effect.provideService(gateway.request(streamed), Scheduler.MaxOpsBeforeYield, 4)
          )
          for (let i = 0; i < steps; i++) yield* Effect.yieldNow
          yield* Fiber.interrupt(fiber)
          if (gateway.reading.report.end === "complete") completed++
          gateway.assertIdle()
          assert.strictEqual(gateway.state("a").circuit.phase, "closed")
          assert.isBelow(steps, 2000)
        }
        assert.isAbove(gateway.transport.exchanges.length, 20)
      })
    )
  )

  it.effect("a client that leaves while queued gives its place to the next", () =>
    withGateway(
      {
        script: { a: [answer(200, "x", { after: "5 seconds" }), answer(200, "y")] },
        pool: { admission: { maxConcurrent: 1, maxQueue: 1 } }
      },
      (gateway) =>
        Effect.gen(function* () {
          const first = yield* gateway.start(gateway.request())
          const second = yield* gateway.start(gateway.request())
          assert.strictEqual(gateway.admission.depth("default"), 1)
          yield* Fiber.interrupt(second)
          assert.strictEqual(gateway.admission.depth("default"), 0)
          const third = yield* gateway.start(gateway.request())
          assert.strictEqual((yield* gateway.join(first)).text, "x")
          assert.strictEqual((yield* gateway.join(third)).text, "y")
          assert.strictEqual(gateway.transport.exchanges.length, 2)
        })
    )
  )

  it.effect("a client that leaves while it waits for a backend to have room takes nothing with it", () =>
    withGateway(
      { script: { a: [answer(200, "x", { after: "5 seconds" })] }, backends: { a: { maxConcurrency: 1 } } },
      (gateway) =>
        Effect.gen(function* () {
          const first = yield* gateway.start(gateway.request())
          const second = yield* gateway.start(gateway.request())
          yield* TestClock.adjust("1 second")
          yield* Fiber.interrupt(second)
          assert.deepStrictEqual([gateway.admission.active("default"), gateway.admission.depth("default")], [1, 0])
          yield* gateway.join(first)
          assert.strictEqual(gateway.transport.exchanges.length, 1)
        })
    )
  )

  it.effect("a client that leaves during the trial of a half-open circuit leaves the trial to the next", () =>
    withGateway(
      {
        script: { a: [...Array.from({ length: 5 }, () => answer(500)), silence, answer(200, "well again")] },
        backends: { a: { breaker: { cooldown: "4s" } } },
        pool: { retry: { attempts: 0 } }
      },
      (gateway) =>
        Effect.gen(function* () {
          for (let i = 0; i < 5; i++) yield* gateway.ask()
          yield* TestClock.adjust("4 seconds")
          const trial = yield* gateway.start(gateway.request())
          yield* gateway.passUntil(() => gateway.transport.exchanges.length === 6)
          yield* Fiber.interrupt(trial)
          assert.strictEqual((yield* gateway.ask()).text, "well again")
          assert.strictEqual(gateway.state("a").circuit.phase, "closed")
        })
    )
  )

  it.effect("gives back its share of the key's concurrent requests", () =>
    withGateway(
      { script: { a: [silence] }, more: { keys: [{ name: "k", key: "secret", limits: { concurrent: 1 } }] } },
      (gateway) =>
        Effect.gen(function* () {
          for (let i = 0; i < 3; i++) {
            const fiber = yield* gateway.start(gateway.request({ key: "k" }))
            yield* gateway.passUntil(() => gateway.transport.exchanges.length === i + 1)
            assert.strictEqual((yield* gateway.refusal({ key: "k" })).code, "rate_limit_exceeded")
            yield* Fiber.interrupt(fiber)
          }
        })
    )
  )
})
