/** Whose fault a failure is: the backend's, or the request's. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { type Harness, withGateway } from "./Harness.ts"
import { answer, refuse, reset, type Step, silence, stream } from "./ScriptedTransport.ts"

const well = answer(200, '{"ok":true}')

/** What counted against each backend, and the phase of its circuit. */
const blamed = (gateway: Harness): string =>
  [...gateway.registry.current().backends.values()]
    .map(({ name, state }) => `${name} ${state.failures} ${state.circuit.phase} ${state.health.standing}`)
    .join(", ")

/** A breaker that opens at the first counted failure. */
const touchy = { breaker: { minRequests: 1, threshold: 0.01, consecutive: 1 }, health: { unhealthyAfter: 1 } }

const ask = (gateway: Harness) =>
  gateway.ask().pipe(
    Effect.map(({ status }) => status),
    Effect.catch(({ status }) => Effect.succeed(status))
  )

describe("a request that every backend fails on alike", () => {
  const faults: ReadonlyArray<{ readonly what: string; readonly fault: Step; readonly status: number }> = [
    { what: "answers with 500", fault: answer(500, "broken"), status: 500 },
    { what: "answers with 502", fault: answer(502, "broken"), status: 502 },
    { what: "answers with 504", fault: answer(504, "broken"), status: 504 },
    { what: "answers with 507", fault: answer(507, "broken"), status: 507 },
    { what: "closes the connection", fault: reset(), status: 502 },
    { what: "breaks off in a short answer", fault: answer(200, ['{"a":'], { end: "cut" }), status: 502 },
    { what: "ends a stream before its first event", fault: stream([]), status: 502 }
  ]
  it.effect.each(faults)("counts against none where each $what", ({ fault, status }) =>
    withGateway({ script: { a: [fault], b: [fault] }, backends: { a: touchy, b: touchy } }, (gateway) =>
      Effect.gen(function* () {
        for (let i = 0; i < 20; i++) assert.strictEqual(yield* ask(gateway), status)
        assert.strictEqual(blamed(gateway), "a 0 closed first, b 0 closed first")
        assert.deepStrictEqual([gateway.state("a").unresolved, gateway.state("b").unresolved], [0, 0])
      })
    )
  )

  it.effect.each(faults)("counts against none where the only backend $what", ({ fault, status }) =>
    withGateway({ script: { a: [fault] }, backends: { a: touchy } }, (gateway) =>
      Effect.gen(function* () {
        for (let i = 0; i < 20; i++) assert.strictEqual(yield* ask(gateway), status)
        assert.strictEqual(blamed(gateway), "a 0 closed first")
      })
    )
  )

  it.effect("counts against none where attempts are used up after two of three", () =>
    withGateway(
      {
        script: { a: [answer(500)], b: [answer(500)], c: [well] },
        backends: { a: touchy, b: touchy },
        pool: { retry: { attempts: 1 } }
      },
      (gateway) =>
        Effect.gen(function* () {
          assert.strictEqual(yield* ask(gateway), 500)
          assert.strictEqual(blamed(gateway), "a 0 closed first, b 0 closed first, c 0 closed first")
        })
    )
  )

  it.effect("passes the backend's own answer on, and says that another try is of no use", () =>
    withGateway({ script: { a: [answer(500, "one")], b: [answer(500, "two")] } }, (gateway) =>
      Effect.gen(function* () {
        const { headers, status, text } = yield* gateway.ask()
        assert.deepStrictEqual([status, text, headers["x-should-retry"]], [500, "two", "false"])
        assert.strictEqual(gateway.transport.asked, "ab", "each is asked once")
      })
    )
  )
})

describe("requests that every backend fails on alike, so many that the retry budget is used up", () => {
  const faults: ReadonlyArray<{ readonly what: string; readonly fault: Step }> = [
    { what: "answered with 500", fault: answer(500, "broken") },
    { what: "answered with 504", fault: answer(504, "broken") },
    { what: "answered by closing the connection", fault: reset() },
    {
      what: "answered with an empty document",
      fault: answer(200, [], { headers: { "content-type": "application/json" } })
    }
  ]
  const setting = { pool: { retry: { budget: 0, initialDelay: "10ms" } }, backends: { a: touchy, b: touchy } }

  it.effect.each(faults)("take none from others: $what", ({ fault }) =>
    withGateway({ ...setting, script: { a: [fault], b: [fault] } }, (gateway) =>
      Effect.gen(function* () {
        for (let i = 0; i < 300; i++) assert.isAtLeast(yield* ask(gateway), 500)
        assert.isBelow(gateway.transport.asked.length, 500, "not all were asked for twice")
        assert.strictEqual(blamed(gateway), "a 0 closed first, b 0 closed first")
      })
    )
  )

  it.effect.each(faults)("hide no backend that fails where others answer: $what", ({ fault }) =>
    withGateway({ ...setting, script: { a: [fault], b: [fault, well] }, backends: {} }, (gateway) =>
      Effect.gen(function* () {
        for (let i = 0; i < 300; i++) yield* ask(gateway)
        assert.isAbove(gateway.state("a").failures, 4)
        assert.strictEqual(gateway.state("b").failures, 0)
      })
    )
  )
})

describe("the fault of a backend", () => {
  const cases: ReadonlyArray<{
    readonly what: string
    readonly script: Record<string, ReadonlyArray<Step>>
    readonly expected: string
  }> = [
    { what: "where another one answers the same request", script: { a: [answer(500)], b: [well] }, expected: "a 1" },
    {
      what: "where its connection breaks and another one answers",
      script: { a: [reset()], b: [well] },
      expected: "a 1"
    },
    {
      what: "where it refuses connections, as all others do",
      script: { a: [refuse], b: [refuse] },
      expected: "a 1, b 1"
    },
    {
      what: "where several fail, each in its own way",
      script: { a: [answer(500)], b: [answer(502)] },
      expected: "a 1, b 1"
    },
    {
      what: "where one breaks off and another answers with an error",
      script: { a: [reset()], b: [answer(500)] },
      expected: "a 1, b 1"
    }
  ]
  it.effect.each(cases)("a backend is at fault $what", ({ expected, script }) =>
    withGateway({ script, pool: { retry: { attempts: 1 } } }, (gateway) =>
      Effect.gen(function* () {
        yield* ask(gateway)
        const counts = Object.keys(script).map((name) => `${name} ${gateway.state(name).failures}`)
        assert.strictEqual(counts.filter((each) => !each.endsWith(" 0")).join(", "), expected)
      })
    )
  )

  it.effect("a backend is at fault where another one was there and was not asked", () =>
    withGateway({ script: { a: [answer(500)], b: [well] }, pool: { retry: { attempts: 0 } } }, (gateway) =>
      Effect.gen(function* () {
        assert.strictEqual(yield* ask(gateway), 500)
        assert.strictEqual(gateway.state("a").failures, 1)
      })
    )
  )

  it.effect("a silent backend is at fault, though another one is silent too", () =>
    withGateway(
      { script: { a: [silence], b: [silence], c: [well] }, pool: { client: { timeouts: { firstByte: "1s" } } } },
      (gateway) =>
        Effect.gen(function* () {
          assert.strictEqual(yield* ask(gateway), 504)
          assert.strictEqual(gateway.transport.asked, "ab", "a third one is not asked: the client has waited twice")
          assert.deepStrictEqual([gateway.state("a").failures, gateway.state("b").failures], [1, 1])
        })
    )
  )

  it.effect("a backend that may be at fault is asked last until it is known", () =>
    withGateway({ script: { a: [answer(500)], b: [answer(200, "{}", { after: "10 seconds" }), well] } }, (gateway) =>
      Effect.gen(function* () {
        const first = yield* gateway.start(gateway.request())
        yield* gateway.passUntil(() => gateway.transport.asked === "ab")
        assert.strictEqual(gateway.state("a").unresolved, 1)
        yield* gateway.ask()
        assert.strictEqual(gateway.transport.asked, "abb")
        yield* gateway.join(first)
        assert.deepStrictEqual([gateway.state("a").unresolved, gateway.state("a").failures], [0, 1])
      })
    )
  )
})

describe("the fault of a request", () => {
  it.effect.each([400, 404, 413, 422, 501, 505])("a request is at fault where another one says so with %i", (status) =>
    withGateway({ script: { a: [answer(500)], b: [answer(status, "no")] }, backends: { a: touchy } }, (gateway) =>
      Effect.gen(function* () {
        assert.strictEqual(yield* ask(gateway), status)
        assert.strictEqual(gateway.state("a").failures, 0)
        assert.strictEqual(gateway.state("a").circuit.phase, "closed")
      })
    )
  )

  it.effect.each([501, 505])("a request answered with %i is asked once, passed on and not counted", (status) =>
    withGateway({ script: { a: [answer(status, "not here")], b: [well] }, backends: { a: touchy } }, (gateway) =>
      Effect.gen(function* () {
        const { headers, text, ...reading } = yield* gateway.ask()
        assert.deepStrictEqual([reading.status, text, headers["x-should-retry"]], [status, "not here", "false"])
        assert.strictEqual(gateway.transport.asked, "a")
        assert.strictEqual(blamed(gateway), "a 0 closed first, b 0 closed first")
      })
    )
  )
})

describe("what goes by path", () => {
  const faults: ReadonlyArray<Step> = [
    answer(500),
    answer(502),
    answer(503),
    answer(401),
    answer(403),
    reset(),
    answer(200, ["{"], { end: "cut" })
  ]
  it.effect.each(faults)("never moves a circuit or an error rate: $fails$status", (fault) =>
    withGateway({ script: { a: [fault], b: [fault] }, backends: { a: touchy, b: touchy } }, (gateway) =>
      Effect.gen(function* () {
        for (let i = 0; i < 5; i++) yield* Effect.ignore(gateway.ask({ method: "GET", path: "/docs" }))
        for (const name of ["a", "b"]) {
          const { circuit, failures, health, outcomes } = gateway.state(name)
          assert.deepStrictEqual([failures, circuit.phase, health.standing], [0, "closed", "first"])
          assert.strictEqual(outcomes.failures(gateway.now()), 0)
        }
      })
    )
  )

  it.effect("counts where a connection is refused", () =>
    withGateway({ script: { a: [refuse], b: [well] } }, (gateway) =>
      Effect.gen(function* () {
        yield* gateway.ask({ method: "GET", path: "/docs" })
        assert.strictEqual(gateway.state("a").failures, 1)
      })
    )
  )

  it.effect("gets a 502 in place of a 401, and changes no state", () =>
    withGateway({ script: { a: [answer(401, "your key is wrong")] } }, (gateway) =>
      Effect.gen(function* () {
        const error = yield* gateway.refusal({ method: "GET", path: "/docs" })
        assert.deepStrictEqual([error.status, error.code], [502, "upstream_error"])
        assert.match(error.message, /credential/)
        assert.notStrictEqual(gateway.state("a").health.status, "misconfigured")
      })
    )
  )
})

describe("x-should-retry", () => {
  const both = (step: Step) => ({ a: [step], b: [step] })
  it.effect.each([
    { status: 500, expected: "false" },
    { status: 502, expected: "false" },
    { status: 504, expected: "false" },
    { status: 408, expected: "false" },
    { status: 429, expected: "false" },
    { status: 503, expected: "false" },
    { status: 529, expected: "false" },
    { status: 404, expected: undefined },
    { status: 400, expected: undefined }
  ])("x-should-retry beside a backend's own $status, after the gateway's tries: $expected", ({ expected, status }) =>
    withGateway({ script: both(answer(status, "{}", { headers: { "retry-after": "9" } })) }, (gateway) =>
      Effect.gen(function* () {
        for (const path of ["/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/embeddings", "/api/chat"]) {
          assert.strictEqual((yield* gateway.ask({ path })).headers["x-should-retry"], expected)
          yield* TestClock.adjust("10 seconds")
        }
      })
    )
  )

  it.effect("is not said where no other backend was there to be asked", () =>
    withGateway({ script: { a: [answer(500)] } }, (gateway) =>
      Effect.gen(function* () {
        assert.isUndefined((yield* gateway.ask()).headers["x-should-retry"])
      })
    )
  )
})
