/** Two backends asked at once: when, for how many requests, and what becomes of the one that was slower. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { leaveUnresolved } from "../registry/Fixtures.ts"
import { type Harness, type Question, type Setting, withGateway } from "./Harness.ts"
import { answer, later, reset, type Script, type Step, silence, stream } from "./ScriptedTransport.ts"

const took = (millis: number, text = "usual") => answer(200, text, { after: millis })

/** What the percentile is made of: twenty answers that take a tenth of a second. */
const usual = Array.from({ length: 20 }, () => took(100))

/** `a` is asked first as long as it can be; the others have whatever they are given to do. */
const setting = (script: Script, hedge: object = { maxRatio: 1 }, more: object = {}): Setting => ({
  script,
  pool: { hedge, client: { timeouts: { firstByte: "60s" } }, ...more }
})

/** Asks until the percentile is known. */
const learn = (gateway: Harness, question?: Question, samples = usual.length) =>
  Effect.gen(function* () {
    for (let i = 0; i < samples; i++) yield* gateway.ask(question)
    // The percentile is worked out once a second.
    yield* TestClock.adjust("2 seconds")
  })

const scene = (slow: Step, beside: ReadonlyArray<Step>, ...rest: [hedge?: object, more?: object]): Setting =>
  setting({ a: [...usual, slow], b: beside }, ...rest)

const askedOf = ({ transport }: Harness, name: string) => transport.with(name).length

describe("a request that takes longer than most", () => {
  it.effect("is given to a second backend after the percentile, and not before", () =>
    withGateway(scene(silence, [took(50, "beside")]), (gateway) =>
      Effect.gen(function* () {
        yield* learn(gateway)
        const fiber = yield* gateway.start(gateway.request())
        yield* TestClock.adjust("99 millis")
        assert.strictEqual(askedOf(gateway, "b"), 0)
        yield* TestClock.adjust("3 millis")
        assert.strictEqual(askedOf(gateway, "b"), 1)
        const { headers, report, text } = yield* gateway.join(fiber)
        assert.deepStrictEqual([text, headers["x-routed-node"], headers["x-weir-attempts"]], ["beside", "b", "2"])
        assert.deepStrictEqual([report.backend, report.attempts], ["b", 2])
        assert.deepStrictEqual(gateway.transport.ends.slice(-2), ["cancelled", "finished"])
        assert.strictEqual(gateway.state("a").failures, 0, "to be slow is no failure")
      })
    )
  )

  it.effect.each([
    { after: "p50", wait: 600 },
    { after: "p90", wait: 1000 }
  ])("is so by the percentile that is configured: $after", ({ after, wait }) => {
    const spread = Array.from({ length: 21 }, (_, i) => took(100 + i * 50))
    return withGateway(setting({ a: [...spread, silence], b: [took(10)] }, { after, maxRatio: 1 }), (gateway) =>
      Effect.gen(function* () {
        for (const _ of spread) {
          gateway.rest("b", 2000)
          yield* gateway.ask()
        }
        yield* TestClock.adjust("2 seconds")
        const fiber = yield* gateway.start(gateway.request())
        yield* TestClock.adjust(wait - 1)
        assert.strictEqual(askedOf(gateway, "b"), 0)
        yield* TestClock.adjust(3)
        assert.strictEqual(askedOf(gateway, "b"), 1)
        yield* gateway.join(fiber)
      })
    )
  })

  it.effect("keeps its first backend's answer where that comes first after all", () =>
    withGateway(scene(took(300, "first"), [took(5000)]), (gateway) =>
      Effect.gen(function* () {
        yield* learn(gateway)
        const { headers, text } = yield* gateway.ask()
        assert.deepStrictEqual([text, headers["x-routed-node"], headers["x-weir-attempts"]], ["first", "a", "2"])
        assert.deepStrictEqual(gateway.transport.ends.slice(-2), ["finished", "cancelled"])
      })
    )
  )

  it.effect("sends the second backend the same request", () =>
    withGateway(scene(silence, [took(5)]), (gateway) =>
      Effect.gen(function* () {
        yield* learn(gateway)
        yield* gateway.ask({ raw: Buffer.from('{ "model":"m", "seed":12345678901234567890 }') })
        const [first, second] = gateway.transport.exchanges.slice(-2)
        assert.strictEqual(second?.text, '{ "model":"m", "seed":12345678901234567890 }')
        assert.strictEqual(second?.text, first?.text)
      })
    )
  )

  it.effect("does not make the others look quicker than they are: how long clients wait is what counts", () =>
    withGateway(setting({ a: [...usual, silence], b: [took(90)] }), (gateway) =>
      Effect.gen(function* () {
        yield* learn(gateway)
        for (let i = 0; i < 20; i++) yield* gateway.ask()
        yield* TestClock.adjust("2 seconds")
        // They took 100 ms of waiting and 90 ms of the second backend's time.
        const patience = gateway.services.hedging.delay(
          gateway.registry.current().pools.get("default") ?? assert.fail(),
          false
        )
        assert.isAtLeast(patience ?? 0, 185)
      })
    )
  )
})

describe("a stream", () => {
  const event = 'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
  const done = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
  const quick = stream([later(100, event), done])
  const question = { body: { stream: true } }

  it.effect("is hedged until its first output, though a head has come, and never after it", () =>
    withGateway(
      setting({
        a: [
          ...usual.map(() => quick),
          stream([": wait\n\n", later("30 seconds", event)]),
          stream([event, later("5 seconds", done)])
        ],
        b: [stream([later(20, event), later(500, event), done])]
      }),
      (gateway) =>
        Effect.gen(function* () {
          yield* learn(gateway, question)
          const fiber = yield* gateway.start(gateway.request(question))
          yield* gateway.passUntil(() => gateway.reading.text !== "")
          assert.deepStrictEqual(
            gateway.transport.ends.slice(-2),
            ["cancelled", "open"],
            "the loser is cancelled as soon as the other begins, not when it ends"
          )
          assert.strictEqual(gateway.state("a").inflight, 0)
          const { headers, text } = yield* gateway.join(fiber)
          assert.strictEqual(headers["x-routed-node"], "b")
          assert.strictEqual(text, event + event + done, "of one backend alone, from its beginning to its end")
          yield* gateway.ask(question)
          assert.strictEqual(askedOf(gateway, "b"), 1)
        })
    )
  )

  it.effect("goes by what streams take, and other requests by what they take", () =>
    withGateway(setting({ a: [...usual.map(() => quick), silence, silence], b: [quick] }), (gateway) =>
      Effect.gen(function* () {
        yield* learn(gateway, question)
        const whole = yield* gateway.start(gateway.request())
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual(askedOf(gateway, "b"), 0)
        yield* Fiber.interrupt(whole)
        yield* gateway.ask(question)
        assert.strictEqual(askedOf(gateway, "b"), 1)
      })
    )
  )
})

describe("a request that is not hedged", () => {
  const never = (
    what: string,
    given: Setting,
    before: (gateway: Harness) => void = () => {},
    question: Question = {}
  ) =>
    it.effect(`no second backend is asked ${what}`, () =>
      withGateway(given, (gateway) =>
        Effect.gen(function* () {
          yield* learn(gateway, question)
          before(gateway)
          const { headers } = yield* gateway.ask(question)
          assert.deepStrictEqual([headers["x-routed-node"], askedOf(gateway, "b")], ["a", 0])
        })
      )
    )

  const slow = took(3000, "slow")

  never("where the pool has no hedging", { script: { a: [...usual, slow], b: [took(1)] } })
  never("where the other is not well", scene(slow, [took(1)]), (gateway) => {
    gateway.eject("b", 60_000)
  })
  never(
    "where the other has a failure of which it is not known yet whose fault it is",
    scene(slow, [took(1)]),
    (gateway) => {
      leaveUnresolved(gateway.state("b"))
    }
  )
  never("where the other refused a request for this model a while ago", scene(slow, [took(1)]), (gateway) => {
    gateway.state("b").refused("m", gateway.now())
  })
  never("where the other rests", scene(slow, [took(1)]), (gateway) => {
    gateway.rest("b", 60_000)
  })
  never("where the budget is used up", scene(slow, [took(1)], { maxRatio: 0.001 }))
  never(
    "for what is passed through, which may be more than a question",
    setting({ a: [slow], b: [took(1)] }),
    undefined,
    {
      method: "GET",
      path: "/v1/files"
    }
  )

  it.effect("no second backend is asked as long as there are too few samples", () =>
    withGateway(setting({ a: [...usual.slice(1), took(3000), took(3000)], b: [took(1, "beside")] }), (gateway) =>
      Effect.gen(function* () {
        yield* learn(gateway, undefined, 19)
        yield* gateway.ask()
        assert.strictEqual(askedOf(gateway, "b"), 0)
        yield* TestClock.adjust("2 seconds")
        yield* gateway.ask()
        assert.strictEqual(askedOf(gateway, "b"), 1, "that was the twentieth")
      })
    )
  )

  it.effect("no second backend is asked where the other has more to do", () =>
    withGateway(scene(slow, [silence]), (gateway) =>
      Effect.gen(function* () {
        yield* learn(gateway)
        gateway.rest("a", 1)
        const others = yield* Effect.forEach([1, 2], () => gateway.start(gateway.request()))
        yield* TestClock.adjust("2 millis")
        yield* gateway.ask()
        assert.strictEqual(askedOf(gateway, "b"), 2, "which were given to it before")
        for (const other of others) yield* Fiber.interrupt(other)
      })
    )
  )

  it.effect("no second backend is asked, nor the strategy, where none has time; else one that has is asked", () =>
    withGateway(
      setting(
        { a: [...usual, slow, silence], b: [silence], c: [took(5, "third")] },
        { maxRatio: 1 },
        { strategy: "failover" }
      ),
      (gateway) =>
        Effect.gen(function* () {
          gateway.rest("c", 10_000)
          yield* learn(gateway)
          gateway.rest("a", 1)
          const busy = yield* gateway.start(gateway.request())
          yield* TestClock.adjust("2 millis")
          yield* gateway.ask()
          assert.strictEqual(askedOf(gateway, "b"), 1, "it has as much to do")
          yield* TestClock.adjust("4 seconds")
          const { text } = yield* gateway.ask()
          assert.deepStrictEqual([text, askedOf(gateway, "b")], ["third", 1], "b comes before c, and has no time")
          yield* Fiber.interrupt(busy)
        })
    )
  )

  it.effect("no second backend is asked while a request waits for a place", () =>
    withGateway(scene(took(3000), [took(1)], { maxRatio: 1 }, { admission: { maxConcurrent: 1 } }), (gateway) =>
      Effect.gen(function* () {
        yield* learn(gateway)
        const first = yield* gateway.start(gateway.request())
        const second = yield* gateway.start(gateway.request())
        assert.strictEqual(gateway.admission.depth("default"), 1)
        yield* gateway.join(first)
        assert.strictEqual(askedOf(gateway, "b"), 0)
        yield* gateway.join(second)
        assert.strictEqual(askedOf(gateway, "b"), 1, "nobody waits any more")
      })
    )
  )

  it.effect("no second backend is asked beyond the budget: a share of the requests of the last ten seconds", () =>
    withGateway(
      setting({ a: [...usual, silence, silence, took(3000, "slow")], b: [took(10, "beside")] }, { maxRatio: 0.1 }),
      (gateway) =>
        Effect.gen(function* () {
          yield* learn(gateway)
          const answers = yield* Effect.forEach([1, 2, 3], () => gateway.ask())
          assert.deepStrictEqual(
            answers.map(({ text }) => text),
            ["beside", "beside", "slow"],
            "of 22 requests two may be hedged"
          )
        })
    )
  )
})

describe("a hedged request of which one attempt fails", () => {
  const three = (a: Step, b: Step, more: object = {}): Setting =>
    setting({ a: [...usual, a], b: [b], c: [took(5, "third")] }, { maxRatio: 1 }, { retry: { attempts: 2 }, ...more })

  it.effect("the other one's answer is waited for", () =>
    withGateway(three(took(2000, "first"), reset(50)), (gateway) =>
      Effect.gen(function* () {
        yield* learn(gateway)
        const { headers, text } = yield* gateway.ask()
        assert.deepStrictEqual([text, headers["x-routed-node"], headers["x-weir-attempts"]], ["first", "a", "2"])
        assert.deepStrictEqual([gateway.state("a").failures, gateway.state("b").failures], [0, 1])
      })
    )
  )

  it.effect("the second one's answer is waited for as well", () =>
    withGateway(three(reset(200), took(2000, "second")), (gateway) =>
      Effect.gen(function* () {
        yield* learn(gateway)
        const { headers, text } = yield* gateway.ask()
        assert.deepStrictEqual([text, headers["x-routed-node"], headers["x-weir-attempts"]], ["second", "b", "2"])
        assert.strictEqual(gateway.state("a").inflight, 0)
      })
    )
  )

  it.effect.each([
    { who: "the first before the second", a: reset(200), b: reset(300) },
    { who: "the second before the first", a: reset(900), b: reset(50) },
    { who: "with answers that are none", a: answer(503, "", { after: 200 }), b: answer(500, "", { after: 300 }) }
  ])("a third backend is asked when both fail ($who), and none twice", ({ a, b }) =>
    withGateway(three(a, b), (gateway) =>
      Effect.gen(function* () {
        yield* learn(gateway)
        const before = gateway.transport.exchanges.length
        const { headers, text } = yield* gateway.ask()
        assert.deepStrictEqual([text, headers["x-weir-attempts"]], ["third", "3"])
        assert.strictEqual(gateway.transport.asked.slice(before), "abc")
      })
    )
  )

  it.effect("both failed attempts count: with no more left it is an error", () =>
    withGateway(three(reset(200), reset(300), { retry: { attempts: 1 } }), (gateway) =>
      Effect.gen(function* () {
        yield* learn(gateway)
        assert.strictEqual((yield* gateway.refusal()).code, "upstream_error")
        assert.strictEqual(askedOf(gateway, "c"), 0)
      })
    )
  )
})

describe("a client that leaves while two are asked", () => {
  it.effect.each([{ stream: true }, { stream: false }])("has both cancelled at once: %j", (body) =>
    withGateway(
      setting({
        a: [
          ...usual.map((each) => (body.stream ? stream([later(100, "data: x\n\n"), "data: [DONE]\n\n"]) : each)),
          silence
        ],
        b: [silence]
      }),
      (gateway) =>
        Effect.gen(function* () {
          yield* learn(gateway, { body })
          const fiber = yield* gateway.start(gateway.request({ body }))
          yield* gateway.passUntil(() => askedOf(gateway, "b") === 1)
          yield* Fiber.interrupt(fiber)
          for (const end of gateway.transport.ends.slice(-2)) assert.oneOf(end, ["cancelled", "reset"])
          gateway.assertIdle()
        })
    )
  )

  it.effect("a deadline that passes has both attempts cancelled at once", () =>
    withGateway(scene(silence, [silence]), (gateway) =>
      Effect.gen(function* () {
        yield* learn(gateway)
        const error = yield* gateway.refusal({ headers: { "x-weir-timeout": "1s" } })
        assert.strictEqual(error.code, "deadline_exceeded")
        assert.notInclude(gateway.transport.ends, "open")
      })
    )
  )
})

describe("a session", () => {
  const headers = { "x-session-key": "s" }

  it.effect("stays with its backend and is told so, also where a second one is asked in vain", () =>
    withGateway(scene(took(300), [silence]), (gateway) =>
      Effect.gen(function* () {
        yield* learn(gateway, { headers })
        const reading = yield* gateway.ask({ headers })
        assert.deepStrictEqual([reading.headers["x-routed-node"], reading.headers["x-weir-sticky"]], ["a", "hit"])
        assert.strictEqual(askedOf(gateway, "b"), 1)
      })
    )
  )

  it.effect("is told where its answer came from another one, and is not moved for good by that", () =>
    withGateway(setting({ a: [...usual, silence, took(10)], b: [took(5)] }), (gateway) =>
      Effect.gen(function* () {
        yield* learn(gateway, { headers })
        const other = yield* gateway.ask({ headers })
        assert.deepStrictEqual([other.headers["x-routed-node"], other.headers["x-weir-sticky"]], ["b", "moved"])
        const back = yield* gateway.ask({ headers })
        assert.deepStrictEqual([back.headers["x-routed-node"], back.headers["x-weir-sticky"]], ["a", "hit"])
      })
    )
  )
})
