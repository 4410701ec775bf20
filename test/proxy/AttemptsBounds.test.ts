/** How far attempts go: delays, the budget, circuits, and what must never be sent twice. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { TestClock } from "effect/testing"
import { type Harness, withGateway } from "./Harness.ts"
import { answer, refuse, reset, type Step, silence, stream } from "./ScriptedTransport.ts"

const well = answer(200, '{"ok":true}')

describe("a backend that is the only one", () => {
  it.effect("is asked again after a delay that doubles, up to its maximum", () =>
    withGateway(
      {
        script: { a: [reset(), reset(), reset(), reset(), well] },
        pool: { retry: { attempts: 4, initialDelay: "100ms", maxDelay: "300ms" } }
      },
      (gateway) =>
        Effect.gen(function* () {
          const times: Array<number> = []
          const begin = gateway.now()
          const fiber = yield* gateway.start(gateway.request())
          for (let i = 1; i <= 5; i++) {
            yield* gateway.passUntil(() => gateway.transport.exchanges.length >= i)
            times.push(gateway.now() - begin)
          }
          assert.strictEqual((yield* gateway.join(fiber)).status, 200)
          const gaps = times.slice(1).map((at, i) => at - (times[i] ?? 0))
          for (const [i, wanted] of [100, 200, 300, 300].entries()) {
            assert.isAtLeast(gaps[i] ?? 0, wanted * 0.8 - 20, `gap ${i}`)
            assert.isAtMost(gaps[i] ?? 0, wanted * 1.2 + 30, `gap ${i}`)
          }
        })
    )
  )

  it.effect("is waited for when it rests for a short while, and not when it rests for long", () =>
    withGateway(
      {
        script: {
          a: [
            answer(429, "", { headers: { "retry-after": "1" } }),
            well,
            answer(429, "", { headers: { "retry-after": "60" } })
          ]
        }
      },
      (gateway) =>
        Effect.gen(function* () {
          const begin = gateway.now()
          assert.strictEqual((yield* gateway.ask()).status, 200)
          assert.isAtLeast(gateway.now() - begin, 1000)
          const again = gateway.now()
          assert.strictEqual((yield* gateway.ask()).status, 429)
          assert.isAtMost(gateway.now() - again, 50)
          const error = yield* gateway.refusal()
          assert.deepStrictEqual([error.status, error.code], [503, "no_healthy_backend"])
          assert.isAtMost(Math.abs((error.retryAfter ?? 0) - 60), 1)
        })
    )
  )
})

describe("a storm of failures", () => {
  it.effect("is not made worse: beyond its budget a pool does not ask again", () =>
    withGateway(
      {
        script: {
          a: [answer(503, "", { headers: { "retry-after": "0" } })],
          b: [answer(503, "", { headers: { "retry-after": "0" } })]
        },
        pool: { retry: { attempts: 1, budget: 0 } }
      },
      (gateway) =>
        Effect.gen(function* () {
          for (let i = 0; i < 150; i++) assert.strictEqual((yield* gateway.ask()).status, 503)
          assert.isBelow(gateway.now(), 9000)
          assert.strictEqual(gateway.transport.exchanges.length, 150 + 100)
        })
    )
  )

  it.effect(
    "opens the circuit of its backend: no request is sent there until the cooldown is over, then one request is",
    () =>
      withGateway(
        {
          script: {
            a: [...Array.from({ length: 5 }, () => answer(500)), answer(200, "late", { after: "1 second" })],
            b: [well]
          },
          backends: { a: { breaker: { cooldown: "20s", minRequests: 5 }, health: { interval: "1h" } } }
        },
        (gateway) =>
          Effect.gen(function* () {
            for (let i = 0; i < 8; i++) assert.strictEqual((yield* gateway.ask()).status, 200)
            assert.strictEqual(gateway.transport.with("a").length, 5)
            assert.strictEqual(gateway.state("a").circuit.phase, "open")
            yield* TestClock.adjust("20 seconds")
            const before = gateway.transport.asked.length
            const fibers = yield* Effect.forEach([1, 2, 3], () => gateway.start(gateway.request()))
            assert.strictEqual(gateway.transport.asked.slice(before), "abb")
            const nodes = yield* Effect.forEach(fibers, (fiber) =>
              Effect.map(gateway.join(fiber), ({ headers }) => headers["x-routed-node"])
            )
            assert.deepStrictEqual(nodes, ["a", "b", "b"])
            assert.strictEqual(gateway.state("a").circuit.phase, "closed")
            yield* gateway.ask()
            assert.strictEqual(gateway.transport.asked.at(-1), "a")
          })
      )
  )

  it.effect("keeps a circuit open when the one request that tries it fails too", () =>
    withGateway(
      {
        script: { a: [answer(500)], b: [well] },
        backends: { a: { breaker: { cooldown: "4s", minRequests: 5 }, health: { interval: "1h" } } }
      },
      (gateway) =>
        Effect.gen(function* () {
          for (let i = 0; i < 5; i++) yield* gateway.ask()
          yield* TestClock.adjust("4 seconds")
          yield* gateway.ask()
          yield* gateway.ask()
          assert.strictEqual(gateway.transport.with("a").length, 6)
          assert.strictEqual(gateway.state("a").circuit.phase, "open")
        })
    )
  )
})

describe("a backend whose connections break again and again", () => {
  it.effect("is taken out until a probe finds it well", () =>
    withGateway(
      { script: { a: [refuse, refuse, refuse, well], b: [well] }, backends: { a: { breaker: { cooldown: "1s" } } } },
      (gateway) =>
        Effect.gen(function* () {
          gateway.transport.probes.set("a", refuse)
          for (let i = 0; i < 6; i++) yield* gateway.ask()
          assert.strictEqual(gateway.transport.with("a").length, 3)
          assert.strictEqual(gateway.state("a").health.status, "unhealthy")
          gateway.transport.probes.delete("a")
          yield* gateway.passUntil(() => gateway.state("a").health.status === "healthy")
          yield* gateway.ask()
          assert.strictEqual(gateway.transport.asked.at(-1), "a")
        })
    )
  )
})

/** What is passed through by path may be more than a question. */
const outcomeOf = (gateway: Harness, method: string, raw?: Uint8Array | Stream.Stream<Uint8Array>) =>
  gateway.ask({ method, path: "/v1/files", raw: raw ?? Buffer.from("{}") }).pipe(
    Effect.map(({ status }) => String(status)),
    Effect.catch(({ code }) => Effect.succeed(code)),
    Effect.map((outcome) => `${gateway.transport.asked} ${outcome}`)
  )

describe("what is passed through by path", () => {
  const cases: ReadonlyArray<{ method: string; fault: Step; outcome: string }> = [
    { method: "POST", fault: refuse, outcome: "ab 200" },
    { method: "POST", fault: reset(), outcome: "a upstream_error" },
    { method: "POST", fault: answer(500), outcome: "a 500" },
    { method: "POST", fault: answer(503), outcome: "a 503" },
    { method: "PATCH", fault: answer(503), outcome: "a 503" },
    { method: "GET", fault: reset(), outcome: "ab 200" },
    { method: "PUT", fault: answer(500), outcome: "ab 200" },
    { method: "DELETE", fault: answer(503), outcome: "ab 200" }
  ]
  it.effect.each(cases)(
    "a passed-through $method after $fault.fails$fault.status ends as: $outcome",
    ({ fault, method, outcome }) =>
      withGateway({ script: { a: [fault], b: [well] } }, (gateway) =>
        Effect.map(outcomeOf(gateway, method), (found) => {
          assert.strictEqual(found, outcome)
        })
      )
  )

  it.effect("is never sent twice when its body was streamed, not even with a safe method", () =>
    withGateway({ script: { a: [refuse], b: [well] } }, (gateway) =>
      Effect.map(outcomeOf(gateway, "PUT", Stream.make(Buffer.from("x"))), (found) => {
        assert.strictEqual(found, "a upstream_error")
      })
    )
  )

  it.effect.each([
    { reason: "too_large", status: 413, code: "request_too_large" },
    { reason: "too_slow", status: 408, code: "request_timeout" },
    { reason: "two_models", status: 400, code: "invalid_request" },
    { reason: "broken", status: 400, code: "invalid_request" }
  ] as const)("is the client's own fault when its body is $reason, and not the backend's", ({ code, reason, status }) =>
    withGateway({ script: { a: [{ fails: "request_body", after: "5 millis", reason }], b: [well] } }, (gateway) =>
      Effect.gen(function* () {
        const error = yield* gateway.refusal({ method: "POST", path: "/v1/files", raw: Stream.make(Buffer.from("x")) })
        assert.deepStrictEqual([error.status, error.code], [status, code])
        assert.strictEqual(gateway.state("a").failures, 0)
        assert.strictEqual(gateway.transport.asked, "a")
      })
    )
  )
})

describe("the client's deadline", () => {
  it.effect("is not spent on further attempts that could not end before it", () =>
    withGateway({ script: { a: [answer(500)], b: [silence] } }, (gateway) =>
      Effect.gen(function* () {
        const begin = gateway.now()
        const error = yield* gateway.refusal({ headers: { "x-weir-timeout": "500ms" } })
        assert.strictEqual(error.code, "deadline_exceeded")
        assert.isAtMost(gateway.now() - begin, 530)
        assert.deepStrictEqual([gateway.state("a").failures, gateway.state("b").failures], [0, 0])
      })
    )
  )

  it.effect("is kept while the gateway waits to ask the same backend again", () =>
    withGateway(
      { script: { a: [answer(500, "oops")] }, pool: { retry: { attempts: 5, initialDelay: "1s", maxDelay: "5s" } } },
      (gateway) =>
        Effect.gen(function* () {
          const begin = gateway.now()
          const outcome = yield* Effect.result(gateway.ask({ headers: { "x-weir-timeout": "300ms" } }))
          assert.isAtMost(gateway.now() - begin, 330)
          assert.isTrue(
            outcome._tag === "Failure" ? outcome.failure.code === "deadline_exceeded" : outcome.success.status === 500
          )
        })
    )
  )
})

describe("a stream", () => {
  it.effect("is never begun anew once the client has got something of it", () =>
    withGateway(
      { script: { a: [stream(['data: {"choices":[{"text":"a"}]}\n\n', "data: {"], { end: "cut" })], b: [well] } },
      (gateway) =>
        Effect.gen(function* () {
          const { cutBy, text } = yield* gateway.ask({ body: { stream: true } })
          assert.strictEqual(cutBy, "upstream_truncated")
          assert.isTrue(text.startsWith('data: {"choices":[{"text":"a"}]}\n\ndata: {'))
          assert.strictEqual(gateway.transport.asked, "a")
        })
    )
  )
})
