import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { withGateway } from "./Harness.ts"
import { answer, refuse, reset, type Step, silence, stream } from "./ScriptedTransport.ts"

const well = answer(200, '{"ok":true}')
const busy = (headers: Record<string, string> = {}, status = 429) => answer(status, "busy", { headers })

describe("another backend answers", () => {
  it.effect.each([
    { what: "refuses connections", fault: refuse, blamed: true },
    { what: "resets the connection before the head", fault: reset("5 millis"), blamed: true },
    { what: "answers 500", fault: answer(500, "oops"), blamed: true },
    { what: "answers 502", fault: answer(502, "oops"), blamed: true },
    { what: "answers 503", fault: busy({}, 503), blamed: false },
    { what: "answers 429", fault: busy(), blamed: false },
    {
      what: "breaks off in the middle of a short answer",
      fault: answer(200, ['{"ok":', "t"], { end: "cut" }),
      blamed: true
    },
    { what: "ends a stream before its first event", fault: stream([": hello\n\n"]), blamed: true },
    { what: "breaks a stream off before its first event", fault: stream([": hello\n\n"], { end: "cut" }), blamed: true }
  ])("another backend answers when one $what", ({ blamed, fault }) =>
    withGateway({ script: { a: [fault], b: [well] } }, (gateway) =>
      Effect.gen(function* () {
        const begin = gateway.now()
        const { headers, status, text } = yield* gateway.ask()
        assert.isAtMost(gateway.now() - begin, 30, "at once")
        assert.strictEqual(status, 200)
        assert.strictEqual(text, '{"ok":true}')
        assert.strictEqual(headers["x-routed-node"], "b")
        assert.strictEqual(headers["x-weir-attempts"], "2")
        assert.strictEqual(gateway.transport.asked, "ab")
        assert.deepStrictEqual([gateway.state("a").failures, gateway.state("b").failures], [blamed ? 1 : 0, 0])
      })
    )
  )

  it.effect("the other backend gets the same request, byte for byte", () =>
    withGateway({ script: { a: [answer(500)], b: [well] } }, (gateway) =>
      Effect.gen(function* () {
        yield* gateway.ask({
          raw: Buffer.from('{ "model":"m" , "seed": 12345678901234567890 }'),
          headers: { "X-A": "1" }
        })
        const [first, second] = gateway.transport.exchanges
        assert.strictEqual(first?.text, '{ "model":"m" , "seed": 12345678901234567890 }')
        assert.strictEqual(second?.text, first?.text)
        assert.deepStrictEqual(second?.request.headers, first?.request.headers)
      })
    )
  )

  it.effect("the request is kept until there is an answer, and not while that is sent", () =>
    withGateway(
      {
        script: { a: [answer(500, "oops", { after: "5 millis" })], b: [stream(["data: 1\n\n"], { after: "1 second" })] }
      },
      (gateway) =>
        Effect.gen(function* () {
          const kept: Array<boolean> = []
          const keeps = () => kept.push(gateway.payload.body !== undefined)
          const fiber = yield* gateway.start(gateway.request({}, keeps))
          yield* gateway.passUntil(() => gateway.transport.asked === "a")
          keeps()
          yield* gateway.passUntil(() => gateway.transport.asked === "ab")
          keeps()
          yield* gateway.join(fiber)
          assert.deepStrictEqual(kept, [true, true, false])
        })
    )
  )

  it.effect("what the first backend still had to say is not waited for", () =>
    withGateway({ script: { a: [answer(503, ["x"], { end: "stall" })], b: [well] } }, (gateway) =>
      Effect.gen(function* () {
        yield* gateway.ask()
        assert.deepStrictEqual(gateway.transport.ends, ["cancelled", "finished"])
      })
    )
  )
})

describe("refusals of what clients ask for", () => {
  it.effect("do not hide failures in between: they count neither against a backend nor for it", () =>
    withGateway(
      {
        script: {
          a: [refuse, answer(400), refuse, answer(404), refuse, answer(422), refuse, answer(413), refuse]
        },
        backends: { a: { breaker: { minRequests: 1000 }, health: { unhealthyAfter: 100 } } },
        pool: { retry: { attempts: 0 } }
      },
      (gateway) =>
        Effect.gen(function* () {
          for (let i = 0; i < 8; i++) yield* Effect.ignore(gateway.ask())
          assert.strictEqual(gateway.state("a").circuit.phase, "closed")
          yield* gateway.refusal()
          assert.strictEqual(gateway.state("a").circuit.phase, "open", "five refused connections in a row")
        })
    )
  )

  it.effect("do not make a backend look fast", () =>
    withGateway({ script: { a: [answer(200, "{}", { after: "400 millis" }), answer(404)] } }, (gateway) =>
      Effect.gen(function* () {
        for (let i = 0; i < 5; i++) yield* gateway.ask()
        assert.isAtLeast(gateway.state("a").latency.average, 400)
        assert.strictEqual(gateway.state("a").latency.count, 1)
      })
    )
  )
})

describe("an answer that is the request's own fault", () => {
  it.effect.each([400, 404, 405, 409, 410, 413, 415, 418, 422, 426, 431, 451, 501, 505])(
    "an answer of status %i comes as it is: not retried, not counted",
    (status) =>
      withGateway(
        {
          script: {
            a: [answer(status, '{"error":"context_length_exceeded"}', { headers: { "x-own": "1" } })],
            b: [well]
          }
        },
        (gateway) =>
          Effect.gen(function* () {
            for (let i = 0; i < 20; i++) {
              const reading = yield* gateway.ask()
              assert.strictEqual(reading.status, status)
              assert.strictEqual(reading.text, '{"error":"context_length_exceeded"}')
              assert.strictEqual(reading.headers["x-own"], "1")
              assert.strictEqual(reading.headers["x-routed-node"], "a")
            }
            assert.strictEqual(gateway.transport.asked, "a".repeat(20))
            assert.strictEqual(gateway.state("a").failures, 0)
            assert.strictEqual(gateway.state("a").circuit.phase, "closed")
            assert.strictEqual(gateway.state("a").health.standing, "first")
          })
      )
  )
})

describe("a backend that asks to be left alone", () => {
  it.effect("rests for as long as it says, and then is asked again", () =>
    withGateway({ script: { a: [busy({ "retry-after": "7" }), well], b: [well] } }, (gateway) =>
      Effect.gen(function* () {
        yield* gateway.ask()
        yield* TestClock.adjust("6 seconds")
        yield* gateway.ask()
        yield* TestClock.adjust("1 second")
        yield* gateway.ask()
        assert.strictEqual(gateway.transport.asked, "abba")
        assert.strictEqual(gateway.state("a").circuit.phase, "closed")
      })
    )
  )

  it.effect("is not asked sooner because it answered another request without saying how long", () =>
    withGateway(
      {
        script: {
          a: [
            answer(429, "", { headers: { "retry-after": "9" }, after: "10 millis" }),
            answer(503, "", { after: "50 millis" }),
            well
          ],
          b: [well]
        }
      },
      (gateway) =>
        Effect.gen(function* () {
          const first = yield* gateway.start(gateway.request())
          const second = yield* gateway.start(gateway.request())
          yield* gateway.join(first)
          yield* gateway.join(second)
          yield* TestClock.adjust("5 seconds")
          yield* gateway.ask()
          assert.strictEqual(gateway.transport.asked, "aabbb")
        })
    )
  )

  it.effect.each([429, 503])("passes its %i on when all others do the same, with the time that it wants", (status) =>
    withGateway(
      { script: { a: [busy({ "retry-after": "30" }, status)], b: [busy({ "retry-after": "20" }, status)] } },
      (gateway) =>
        Effect.gen(function* () {
          const { headers, text, ...rest } = yield* gateway.ask()
          assert.strictEqual(rest.status, status)
          assert.strictEqual(text, "busy")
          assert.strictEqual(headers["retry-after"], "20")
          assert.strictEqual(headers["x-weir-attempts"], "2")
          assert.strictEqual(gateway.state("a").failures + gateway.state("b").failures, 0)
        })
    )
  )

  it.effect("has a second added to its answer where it does not say how long", () =>
    withGateway({ script: { a: [busy({}, 503)] }, pool: { retry: { attempts: 0 } } }, (gateway) =>
      Effect.gen(function* () {
        assert.strictEqual((yield* gateway.ask()).headers["retry-after"], "1")
      })
    )
  )
})

describe("a request for which everything fails", () => {
  const all = (step: Step) => ({ a: [step], b: [step], c: [step], d: [step] })

  it.effect("the last backend's own answer is what the client gets", () =>
    withGateway(
      {
        script: { a: [answer(500, "first")], b: [answer(502, "second", { headers: { "x-b": "1" } })] },
        pool: { retry: { attempts: 1 } }
      },
      (gateway) =>
        Effect.gen(function* () {
          const { headers, status, text } = yield* gateway.ask()
          assert.deepStrictEqual([status, text, headers["x-b"], headers["x-routed-node"]], [502, "second", "1", "b"])
        })
    )
  )

  it.effect("the last backend's own answer must have come whole, or it is a 502", () =>
    withGateway(
      { script: { a: [answer(500, ["oo", "ps"], { end: "cut" })] }, pool: { retry: { attempts: 0 } } },
      (gateway) =>
        Effect.map(gateway.refusal(), ({ code }) => {
          assert.strictEqual(code, "upstream_error")
        })
    )
  )

  it.effect.each([refuse, reset(), reset("10 millis")])(
    "a broken transport is a 502 that says no more than that",
    (fault) =>
      withGateway({ script: all(fault) }, (gateway) =>
        Effect.gen(function* () {
          const error = yield* gateway.refusal()
          assert.deepStrictEqual([error.status, error.code], [502, "upstream_error"])
          assert.notMatch(error.message, /test|scripted|reset|\d/)
        })
      )
  )

  it.effect("a silent backend is a 504", () =>
    withGateway(
      { script: all(silence), pool: { retry: { attempts: 1 }, client: { timeouts: { firstByte: "1s" } } } },
      (gateway) =>
        Effect.gen(function* () {
          const error = yield* gateway.refusal()
          assert.deepStrictEqual([error.status, error.code], [504, "upstream_timeout"])
          assert.strictEqual(gateway.transport.asked, "ab")
        })
    )
  )

  it.effect.each([
    { attempts: 0, asked: "a" },
    { attempts: 1, asked: "ab" },
    { attempts: 3, asked: "abcd" }
  ])("no more than $attempts further attempts are made", ({ asked, attempts }) =>
    withGateway({ script: all(answer(500)), pool: { retry: { attempts } } }, (gateway) =>
      Effect.gen(function* () {
        assert.strictEqual((yield* gateway.ask()).headers["x-weir-attempts"], String(attempts + 1))
        assert.strictEqual(gateway.transport.asked, asked)
      })
    )
  )

  it.effect("no backend is asked twice before all were asked once", () =>
    withGateway({ script: all(reset()), pool: { retry: { attempts: 7 } } }, (gateway) =>
      Effect.gen(function* () {
        yield* gateway.refusal()
        assert.strictEqual(gateway.transport.asked, "abcdabcd".slice(0, gateway.transport.asked.length))
        assert.strictEqual(gateway.transport.asked.slice(0, 5), "abcda")
      })
    )
  )

  it.effect("the backend that has just failed is not asked next, once all were asked", () =>
    withGateway({ script: { a: [reset()], b: [reset()] }, pool: { retry: { attempts: 3 } } }, (gateway) =>
      Effect.gen(function* () {
        // A session prefers its backend: here the one that it has just been moved to.
        yield* gateway.refusal({ headers: { "x-session-key": "s" } })
        assert.strictEqual(gateway.transport.asked, "abab")
      })
    )
  )

  it.effect("a backend that recovers meanwhile and was not asked yet comes before those that were", () =>
    withGateway(
      {
        script: { a: [reset(), reset("300 millis")], c: [reset()], b: [well] },
        pool: { retry: { attempts: 3, initialDelay: "100ms", maxDelay: "100ms" } }
      },
      (gateway) =>
        Effect.gen(function* () {
          gateway.rest("b", 200)
          assert.strictEqual((yield* gateway.ask()).status, 200)
          assert.strictEqual(gateway.transport.asked, "acab")
        })
    )
  )

  it.effect("the backend that has just failed is asked again where there is no other", () =>
    withGateway({ script: { a: [reset(), well], b: [refuse] }, backends: { b: { enabled: false } } }, (gateway) =>
      Effect.gen(function* () {
        assert.strictEqual((yield* gateway.ask()).status, 200)
        assert.strictEqual(gateway.transport.asked, "aa")
      })
    )
  )
})
