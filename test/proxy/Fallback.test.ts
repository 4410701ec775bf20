/** Another model in place of the one that was named: when, and what the client sees of it. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { type Harness, type Setting, withGateway } from "./Harness.ts"
import { type Answer, answer, refuse, reset, type Script, type Step, silence, stream } from "./ScriptedTransport.ts"
import { tooLong } from "./TooLong.ts"

const well = (model: string) =>
  answer(200, JSON.stringify({ model, usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 } }))

/** Each backend has the model of its own name in upper case; `M` may be stood in for by `N`, and that by `O`. */
const setting = (script: Script, more: Partial<Setting> = {}): Setting => ({
  script,
  backends: Object.fromEntries(Object.keys(script).map((name) => [name, { models: [name.toUpperCase()] }])),
  ...more,
  more: { models: [{ match: "M", fallbacks: ["N", "O"] }], ...more.more }
})

const ask = (gateway: Harness, more: object = {}) => gateway.ask({ body: { model: "M" }, ...more })

const modelsAsked = ({ transport }: Harness) =>
  transport.exchanges.map(({ text }) => /"model":"(\w+)"/.exec(text)?.[1]).join("")

const retryNever = { retry: { attempts: 0 } }

describe("a fallback model", () => {
  const faults: ReadonlyArray<{ readonly what: string; readonly fault: Step }> = [
    { what: "has too much to do (429)", fault: answer(429, "busy", { headers: { "retry-after": "30" } }) },
    { what: "has too much to do (503)", fault: answer(503, "busy") },
    { what: "has too much to do (529)", fault: answer(529, "overloaded") },
    { what: "refuses connections", fault: refuse },
    { what: "breaks off before its answer", fault: reset("3 millis") }
  ]
  it.effect.each(faults)("the fallback answers when the first model's backend $what", ({ fault }) =>
    withGateway(
      setting({ m: [fault], n: [answer(200, "late", { after: "50 millis" })] }, { pool: retryNever }),
      (gateway) =>
        Effect.gen(function* () {
          const fiber = yield* gateway.start(gateway.request({ body: { model: "M" } }))
          yield* gateway.passUntil(() => gateway.transport.with("n").length === 1)
          assert.strictEqual(gateway.state("m").inflight, 0, "what the first model held is free")
          assert.strictEqual(gateway.admission.active("default"), 1)
          const { headers, report, status, text } = yield* gateway.join(fiber)
          assert.deepStrictEqual([status, text], [200, "late"])
          assert.deepStrictEqual([headers["x-routed-node"], headers["x-weir-attempts"]], ["n", "2"])
          assert.strictEqual(modelsAsked(gateway), "MN")
          assert.deepStrictEqual([report.model, report.backend, report.attempts], ["M", "n", 2])
        })
    )
  )

  it.effect("the fallback answers at once, though the first model's backend asked for no more than a short rest", () =>
    withGateway(setting({ m: [answer(429, "", { headers: { "retry-after": "1" } })], n: [well("N")] }), (gateway) =>
      Effect.gen(function* () {
        const begin = gateway.now()
        yield* ask(gateway)
        yield* ask(gateway)
        assert.isAtMost(gateway.now() - begin, 50)
        assert.strictEqual(modelsAsked(gateway), "MNN")
      })
    )
  )

  it.effect("the fallback is all that is asked when no backend could serve the first model", () =>
    withGateway(setting({ m: [well("M")], n: [well("N")] }), (gateway) =>
      Effect.gen(function* () {
        gateway.rest("m", 600_000)
        const { headers, status } = yield* ask(gateway)
        assert.deepStrictEqual([status, headers["x-weir-attempts"], modelsAsked(gateway)], [200, "1", "N"])
      })
    )
  )

  it.effect.each([
    { what: "is full", admission: { maxConcurrent: 1, maxQueue: 0 } },
    { what: "lasts too long", admission: { maxConcurrent: 1, maxQueue: 1, queueTimeout: "1s" } }
  ])("the fallback answers when the queue for the first model $what", ({ admission }) =>
    withGateway(
      setting(
        { m: [silence], n: [well("N")] },
        {
          pool: { backends: ["m"], admission, client: { timeouts: { firstByte: "20s" } }, retry: { attempts: 0 } },
          more: {
            pools: [
              {
                name: "default",
                backends: ["m"],
                admission,
                client: { timeouts: { firstByte: "20s" } },
                ...retryNever
              },
              { name: "other", backends: ["n"] }
            ],
            models: [
              { match: "M", fallbacks: ["N"] },
              { match: "N", pool: "other" }
            ]
          }
        }
      ),
      (gateway) =>
        Effect.gen(function* () {
          const first = yield* gateway.start(Effect.exit(gateway.request({ body: { model: "M" } })))
          yield* gateway.passUntil(() => gateway.transport.exchanges.length === 1)
          const { headers, status } = yield* ask(gateway)
          assert.deepStrictEqual([status, headers["x-routed-node"], headers["x-weir-attempts"]], [200, "n", "1"])
          yield* Fiber.interrupt(first)
          assert.deepStrictEqual([gateway.admission.active("other"), gateway.admission.depth("other")], [0, 0])
        })
    )
  )

  it.effect("the fallback answers for a stream too, before anything of it was sent", () =>
    withGateway(
      setting({
        m: [answer(503)],
        n: [stream(['data: {"choices":[{"delta":{"content":"hi"}}]}\n\n', "data: [DONE]\n\n"])]
      }),
      (gateway) =>
        Effect.gen(function* () {
          const { status, text } = yield* ask(gateway, { body: { model: "M", stream: true } })
          assert.strictEqual(status, 200)
          assert.match(text, /"hi"[^]*\[DONE\]/)
        })
    )
  )

  it.effect("the next fallback is asked where one fails, in the rule's order; one of no backend is passed over", () =>
    withGateway(
      setting(
        { m: [answer(503)], n: [answer(429)], o: [well("O")] },
        { more: { models: [{ match: "M", fallbacks: ["N", "X", "O"] }] } }
      ),
      (gateway) =>
        Effect.gen(function* () {
          const { headers, text } = yield* ask(gateway)
          assert.strictEqual(modelsAsked(gateway), "MNO")
          assert.deepStrictEqual([headers["x-weir-attempts"], headers["x-routed-node"]], ["3", "o"])
          assert.match(text, /"O"/)
        })
    )
  )

  it.effect("the fallback answers after all attempts for the first model, and has as many itself", () =>
    withGateway(
      setting(
        { a: [answer(503)], b: [answer(503)], c: [answer(500)], d: [well("N")] },
        {
          backends: { a: { models: ["M"] }, b: { models: ["M"] }, c: { models: ["N"] }, d: { models: ["N"] } },
          pool: { retry: { attempts: 1 } }
        }
      ),
      (gateway) =>
        Effect.gen(function* () {
          const { headers } = yield* ask(gateway)
          assert.strictEqual(gateway.transport.asked, "abcd")
          assert.strictEqual(headers["x-weir-attempts"], "4")
        })
    )
  )
})

describe("a prompt that is too long for the first model", () => {
  it.effect.each(tooLong)("is given to another one, as $engine says it", ({ body, status }) =>
    withGateway(setting({ m: [answer(status, JSON.stringify(body))], n: [well("N")] }), (gateway) =>
      Effect.gen(function* () {
        const { headers, ...rest } = yield* ask(gateway)
        assert.deepStrictEqual([rest.status, headers["x-routed-node"], headers["x-weir-attempts"]], [200, "n", "2"])
        assert.strictEqual(gateway.state("m").failures, 0, "nobody is to blame")
        assert.strictEqual(gateway.state("m").circuit.phase, "closed")
      })
    )
  )

  it.effect("is answered as it came, where no other model is configured", () =>
    withGateway(
      setting({ m: [answer(400, "context_length_exceeded")], n: [well("N")] }, { more: { models: [] } }),
      (gateway) =>
        Effect.gen(function* () {
          const { status, text } = yield* ask(gateway)
          assert.deepStrictEqual([status, text], [400, "context_length_exceeded"])
        })
    )
  )
})

describe("a failure for which no fallback is asked", () => {
  const own: ReadonlyArray<{ readonly what: string; readonly given: Answer }> = [
    { what: "a filter's 400", given: answer(400, '{"error":{"code":"content_filter","message":"blocked"}}') },
    { what: "a 400 for a wrong parameter", given: answer(400, '{"error":{"message":"temperature must be below 2"}}') },
    { what: "a 403", given: answer(403, "no") },
    { what: "a 404", given: answer(404, "no such thing") },
    { what: "a 500", given: answer(500, "oops") },
    { what: "a 200 that talks of it", given: answer(200, '{"text":"context_length_exceeded"}') }
  ]
  it.effect.each(own)("no fallback is asked after $what: it comes as it is", ({ given }) =>
    withGateway(
      setting(
        { m: [{ ...given, headers: { "x-own": "1", "content-type": "application/json" } }], n: [well("N")] },
        { pool: retryNever }
      ),
      (gateway) =>
        Effect.gen(function* () {
          const { headers, status, text } = yield* ask(gateway)
          assert.deepStrictEqual([status, [text], headers["x-own"]], [given.status, given.pieces, "1"])
          assert.strictEqual(gateway.transport.asked, "m")
        })
    )
  )

  it.effect("no fallback is asked after an answer that takes too long, nor beyond the request's deadline", () =>
    withGateway(
      setting({ m: [silence], n: [silence] }, { pool: { ...retryNever, client: { timeouts: { request: "2s" } } } }),
      (gateway) =>
        Effect.gen(function* () {
          const late = yield* gateway.refusal({ body: { model: "M" } })
          assert.strictEqual(late.code, "upstream_timeout")
          assert.strictEqual(gateway.transport.asked, "m")
          gateway.rest("m", 600_000)
          const begin = gateway.now()
          const over = yield* gateway.refusal({ body: { model: "M" }, headers: { "x-weir-timeout": "1s" } })
          assert.strictEqual(over.code, "deadline_exceeded")
          assert.strictEqual(gateway.transport.asked, "mn")
          assert.isAtMost(gateway.now() - begin, 1100)
        })
    )
  )

  it.effect("the last answer is the client's when all models have failed", () =>
    withGateway(
      setting({
        m: [answer(503, "m")],
        n: [answer(503, "n")],
        o: [answer(429, "o", { headers: { "retry-after": "9" } })]
      }),
      (gateway) =>
        Effect.gen(function* () {
          const { headers, status, text } = yield* ask(gateway)
          assert.deepStrictEqual(
            [status, text, headers["retry-after"], headers["x-weir-attempts"]],
            [429, "o", "9", "3"]
          )
        })
    )
  )

  it.effect("a fallback that cannot call the tools that the request has is passed over: the next one is asked", () =>
    withGateway(
      setting(
        { m: [answer(503, "m")], n: [well("N")], o: [well("O")] },
        {
          more: {
            models: [
              { match: "M", fallbacks: ["N", "O"] },
              { match: "N", tools: { parser: "none" } }
            ]
          }
        }
      ),
      (gateway) =>
        Effect.gen(function* () {
          yield* ask(gateway, { body: { model: "M", tools: [{ type: "function", function: { name: "f" } }] } })
          assert.strictEqual(modelsAsked(gateway), "MO")
        })
    )
  )
})

describe("a key's limits", () => {
  const keys = [{ name: "k", key: "secret", limits: { requestsPerMinute: 6, tokensPerMinute: 60, concurrent: 1 } }]
  const models = [{ match: "M", fallbacks: ["N", "O"] }]

  it.effect("count a request once, however many models were asked for it, and the tokens that it used", () =>
    withGateway(
      setting({ m: [answer(503)], n: [answer(429)], o: [well("O")] }, { more: { keys, models } }),
      (gateway) =>
        Effect.gen(function* () {
          const { headers } = yield* ask(gateway, { key: "k" })
          assert.strictEqual(headers["x-ratelimit-remaining-requests"], "5")
          const before = Number(headers["x-ratelimit-remaining-tokens"])
          const again = yield* ask(gateway, { key: "k" })
          assert.strictEqual(again.status, 200, "its one place is free again")
          // The second holds its own estimate, as the first did; of the first only the seven that it used are left.
          assert.approximately(before - Number(again.headers["x-ratelimit-remaining-tokens"]), 7, 1)
          assert.strictEqual(again.headers["x-ratelimit-remaining-requests"], "4")
        })
    )
  )

  it.effect("a client that leaves while a fallback is at work frees the key's limits and everything else", () =>
    withGateway(setting({ m: [answer(503)], n: [silence] }, { more: { keys, models } }), (gateway) =>
      Effect.gen(function* () {
        for (let i = 0; i < 3; i++) {
          const fiber = yield* gateway.start(gateway.request({ body: { model: "M" }, key: "k" }))
          yield* gateway.passUntil(() => gateway.transport.with("n").length === i + 1)
          yield* Fiber.interrupt(fiber)
          assert.strictEqual(gateway.transport.ends.at(-1), "cancelled")
          gateway.assertIdle()
        }
      })
    )
  )
})
