/** How long a request may take, in every phase of it, and who is to blame when it takes longer. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { RequestState } from "../../src/proxy/RequestState.ts"
import { Lease } from "../../src/scheduler/Scheduler.ts"
import { type Harness, planFor, type Question, withGateway } from "./Harness.ts"
import { answer, later, silence, stream } from "./ScriptedTransport.ts"

const well = answer(200, '{"ok":true}')
const event = 'data: {"choices":[]}\n\n'
const done = "data: [DONE]\n\n"
const streamed: Question = { body: { stream: true } }

/** How many virtual milliseconds something takes. */
const timed = <A, E>(gateway: Harness, effect: Effect.Effect<A, E>) =>
  Effect.gen(function* () {
    const begin = gateway.now()
    const result = yield* effect
    return { result, took: gateway.now() - begin }
  })

/** Deadlines are met to 20 ms, and time passes in steps of 10. */
const assertTook = (took: number, wanted: number) => assert.isTrue(took >= wanted && took <= wanted + 150, `${took} ms`)

describe("a backend that is silent before its first output", () => {
  it.effect.each([
    { what: "never answers", fault: silence },
    { what: "answers with a head and nothing else", fault: stream([], { end: "stall" }) },
    { what: "falls silent behind a comment", fault: stream([": a\n\n"], { end: "stall" }) },
    { what: "sends its first token too late", fault: stream([later("5 seconds", event), done]) }
  ])("a backend that $what has its stream taken over by another one, and it counts", ({ fault }) =>
    withGateway(
      { script: { a: [fault], b: [stream([event, done])] }, pool: { client: { timeouts: { firstByte: "2s" } } } },
      (gateway) =>
        Effect.gen(function* () {
          const { result, took } = yield* timed(gateway, gateway.ask(streamed))
          assert.deepStrictEqual([result.text, result.headers["x-routed-node"]], [event + done, "b"])
          assertTook(took, 2000)
          assert.deepStrictEqual([gateway.state("a").failures, gateway.state("b").failures], [1, 0])
          assert.strictEqual(gateway.transport.ends[0], "timeout")
        })
    )
  )

  it.effect("is waited for where the answer does not stream: its head comes when all is done", () =>
    withGateway({ script: { a: [answer(200, "late", { after: "200 seconds" })] } }, (gateway) =>
      Effect.map(gateway.ask(), ({ status, text }) => {
        assert.deepStrictEqual([status, text], [200, "late"])
      })
    )
  )

  it.effect("is not waited for for longer than its request time-out, whatever the client would wait", () =>
    withGateway({ script: { a: [silence], b: [well] }, backends: { a: { timeouts: { request: "3s" } } } }, (gateway) =>
      Effect.gen(function* () {
        const { result, took } = yield* timed(gateway, gateway.refusal({ headers: { "x-weir-timeout": "1h" } }))
        assert.strictEqual(result.code, "upstream_timeout")
        assert.strictEqual(gateway.transport.asked, "a", "another one would take as long again")
        assertTook(took, 3000)
      })
    )
  )

  it.effect("may be configured to show a sign of life early on answers that do not stream too", () =>
    withGateway(
      { script: { a: [silence], b: [well] }, backends: { a: { timeouts: { firstByte: "1s" } } } },
      (gateway) =>
        Effect.gen(function* () {
          assertTook((yield* timed(gateway, gateway.ask())).took, 1000)
        })
    )
  )

  it.effect("is bound by its request time-out on streams too where the pool says so", () =>
    withGateway(
      {
        script: { a: [stream(Array.from({ length: 9 }, () => later("1 second", event)))] },
        pool: { client: { stream: false, timeouts: { request: "4s" } } }
      },
      (gateway) =>
        Effect.gen(function* () {
          const { result, took } = yield* timed(gateway, gateway.ask(streamed))
          assert.strictEqual(result.cutBy, "upstream_timeout")
          assertTook(took, 4000)
        })
    )
  )
})

describe("the client's deadline", () => {
  const bounded: Question = { headers: { "x-weir-timeout": "2s" } }
  const phases = [
    { phase: "before the head", fault: silence },
    { phase: "in the middle of a short answer", fault: answer(200, ["{"], { end: "stall" }) },
    { phase: "before the first token", fault: stream([": hi\n\n"], { end: "stall" }) }
  ]
  it.effect.each(phases)("ends a request $phase with 504, and no backend is to blame", ({ fault }) =>
    withGateway({ script: { a: [fault], b: [well] } }, (gateway) =>
      Effect.gen(function* () {
        const { result, took } = yield* timed(gateway, gateway.refusal(bounded))
        assert.deepStrictEqual([result.status, result.code], [504, "deadline_exceeded"])
        assertTook(took, 2000)
        assert.strictEqual(gateway.transport.asked, "a")
        assert.notStrictEqual(gateway.transport.ends[0], "open")
        assert.deepStrictEqual([gateway.state("a").failures, gateway.state("a").circuit.phase], [0, "closed"])
      })
    )
  )

  it.effect("ends a stream in its middle with an explicit event, and no backend is to blame", () =>
    withGateway({ script: { a: [stream(Array.from({ length: 9 }, () => later("700 millis", event)))] } }, (gateway) =>
      Effect.gen(function* () {
        const { result, took } = yield* timed(gateway, gateway.ask({ ...bounded, ...streamed }))
        assert.strictEqual(result.cutBy, "upstream_timeout")
        assert.isTrue(result.text.startsWith(event + event))
        assertTook(took, 2000)
        assert.strictEqual(gateway.state("a").failures, 0)
      })
    )
  )

  it.effect("ends the wait for a place", () =>
    withGateway(
      { script: { a: [answer(200, "x", { after: "20 seconds" })] }, pool: { admission: { maxConcurrent: 1 } } },
      (gateway) =>
        Effect.gen(function* () {
          const first = yield* gateway.start(gateway.request())
          const { result, took } = yield* timed(gateway, gateway.refusal(bounded))
          assert.deepStrictEqual([result.status, result.code], [504, "deadline_exceeded"])
          assertTook(took, 2000)
          assert.strictEqual((yield* gateway.join(first)).status, 200)
        })
    )
  )

  it.effect("counts from when the request came, over all attempts", () =>
    withGateway(
      { script: { a: [silence], b: [silence] }, pool: { client: { timeouts: { firstByte: "1500ms" } } } },
      (gateway) =>
        Effect.gen(function* () {
          const { result, took } = yield* timed(gateway, gateway.refusal(bounded))
          assert.strictEqual(result.code, "deadline_exceeded")
          assertTook(took, 2000)
          assert.strictEqual(gateway.transport.asked, "ab")
          assert.deepStrictEqual([gateway.state("a").failures, gateway.state("b").failures], [1, 0])
        })
    )
  )

  it.effect("may be as far away as a client likes", () =>
    withGateway({ script: { a: [answer(200, "ok", { after: "10 seconds" })] } }, (gateway) =>
      Effect.map(gateway.ask({ headers: { "x-weir-timeout": "36500d" } }), ({ text }) => {
        assert.strictEqual(text, "ok")
      })
    )
  )

  it.effect.each(["soon", "", "-1s", "0", "1 fortnight", "NaN", "5 parsecs"])(
    "a deadline of %j is no duration and a 400",
    (text) =>
      withGateway({ script: { a: [well] } }, (gateway) =>
        Effect.map(gateway.refusal({ headers: { "x-weir-timeout": text } }), ({ code, status }) => {
          assert.deepStrictEqual([status, code], [400, "invalid_request"])
        })
      )
  )
})

describe("the queue", () => {
  const slow = answer(200, "x", { after: "10 seconds" })

  it.effect("refuses a request that finds no place in it, and says when to come back", () =>
    withGateway({ script: { a: [slow] }, pool: { admission: { maxConcurrent: 1, maxQueue: 1 } } }, (gateway) =>
      Effect.gen(function* () {
        const first = yield* gateway.start(gateway.request())
        const second = yield* gateway.start(gateway.request())
        const error = yield* gateway.refusal()
        assert.deepStrictEqual([error.status, error.code], [503, "queue_full"])
        assert.isTrue((error.retryAfter ?? 0) >= 1 && (error.retryAfter ?? 0) <= 60)
        assert.strictEqual((yield* gateway.join(first)).status, 200)
        const { headers, report } = yield* gateway.join(second)
        assert.approximately(report.queued, 10_000, 150)
        assert.match(headers["server-timing"] ?? "", /^queue;dur=\d{4,}/)
      })
    )
  )

  it.effect("lets no request wait for longer than its time-out", () =>
    withGateway(
      { script: { a: [slow] }, backends: { a: { maxConcurrency: 1 } }, pool: { admission: { queueTimeout: "2s" } } },
      (gateway) =>
        Effect.gen(function* () {
          const first = yield* gateway.start(gateway.request())
          const { result, took } = yield* timed(gateway, gateway.refusal())
          assert.deepStrictEqual([result.status, result.code], [503, "queue_timeout"])
          assertTook(took, 2000)
          yield* gateway.join(first)
        })
    )
  )

  it.effect("lets a waiting request in as soon as a backend has room again", () =>
    withGateway({ script: { a: [slow, well] }, backends: { a: { maxConcurrency: 1 } } }, (gateway) =>
      Effect.gen(function* () {
        const first = yield* gateway.start(gateway.request())
        const { result, took } = yield* timed(gateway, gateway.ask())
        assert.strictEqual(result.status, 200)
        assertTook(took, 10_000)
        yield* gateway.join(first)
      })
    )
  )
})

describe("a request's state", () => {
  /** One that has sent an attempt. */
  const sentBy = (gateway: Harness) => {
    const pool = gateway.registry.current().pools.get("default")
    assert.isDefined(pool)
    const plan = planFor(gateway, pool)
    const state = new RequestState(gateway.services, plan)
    const lease = gateway.services.scheduler.pick(state.pickRequest(), gateway.now())
    assert.instanceOf(lease, Lease)
    const attempt = state.openAttempt(lease)
    state.sent(attempt)
    return { state, attempt }
  }

  it.effect("gives everything back once, however often it is released", () =>
    withGateway({ script: { a: [well] } }, (gateway) =>
      Effect.sync(() => {
        const states = [sentBy(gateway), sentBy(gateway)]
        assert.strictEqual(gateway.state("a").inflight, 2)
        states[0]?.state.release()
        states[0]?.state.release()
        assert.strictEqual(gateway.state("a").inflight, 1)
        states[1]?.state.release()
      })
    )
  )

  it.effect("says one thing of its backend: the first word counts", () =>
    withGateway({ script: { a: [well] } }, (gateway) =>
      Effect.sync(() => {
        const { attempt, state } = sentBy(gateway)
        attempt.recordOutcome("failure")
        attempt.recordOutcome("failure")
        attempt.recordOutcome("success")
        state.release()
        assert.strictEqual(gateway.state("a").failures, 1)
        assert.strictEqual(gateway.state("a").outcomes.failures(gateway.now()), 1)
      })
    )
  )
})
