/** What a backend refuses on its own account: its credential, a payment, a permission, a model that it has not. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { leaseOf, putInForce } from "../registry/Fixtures.ts"
import { withGateway } from "./Harness.ts"
import { answer, reset, silence } from "./ScriptedTransport.ts"

const well = answer(200, '{"ok":true}')

const missing = [
  '{"error":{"message":"The model `m` does not exist.","type":"NotFoundError","param":"model","code":404}}',
  '{"error":{"message":"The model `m` does not exist or you do not have access to it.","code":"model_not_found"}}',
  '{"error":"model \\"m\\" not found, try pulling it first"}',
  '{"type":"error","error":{"type":"not_found_error","message":"model: m"}}',
  '{"type": "error", "error": {"message": "model: m", "type": "not_found_error"}}',
  '{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}'
]

describe("a refusal that may be the backend's own", () => {
  const refusals = [
    ...[402, 403, 408, 421, 425].map((status) => ({ what: String(status), refusal: answer(status, '{"error":{}}') })),
    ...missing.map((text, i) => ({ what: `404 for a missing model (${i})`, refusal: answer(404, text) }))
  ]
  it.effect.each(refusals)("$what: another backend is asked, and this one last for the model for 30 s", ({ refusal }) =>
    withGateway({ script: { a: [refusal, well], b: [well] } }, (gateway) =>
      Effect.gen(function* () {
        assert.strictEqual((yield* gateway.ask()).status, 200)
        assert.strictEqual(gateway.transport.asked, "ab")
        yield* gateway.ask()
        assert.strictEqual(gateway.transport.asked, "abb", "the one that refused comes last")
        yield* TestClock.adjust("30 seconds")
        yield* gateway.ask()
        assert.strictEqual(gateway.transport.asked, "abba")
        assert.deepStrictEqual([gateway.state("a").failures, gateway.state("a").circuit.phase], [0, "closed"])
      })
    )
  )

  it.effect.each(refusals)("$what: where all say the same it passes unchanged", ({ refusal }) =>
    withGateway(
      { script: { a: [{ ...refusal, headers: { "x-own": "1" } }], b: [{ ...refusal, headers: { "x-own": "1" } }] } },
      (gateway) =>
        Effect.gen(function* () {
          const { headers, status, text } = yield* gateway.ask()
          assert.deepStrictEqual([status, [text], headers["x-own"]], [refusal.status, refusal.pieces, "1"])
          assert.strictEqual(gateway.transport.asked, "ab", "each is asked once")
        })
    )
  )

  it.effect("is about its model: another model of the same backend is asked there as before", () =>
    withGateway(
      {
        script: { a: [answer(403), well], b: [well] },
        backends: { a: { models: ["m", "n"] }, b: { models: ["m", "n"] } }
      },
      (gateway) =>
        Effect.gen(function* () {
          yield* gateway.ask()
          yield* gateway.ask({ body: { model: "n" } })
          assert.strictEqual(gateway.transport.asked, "aba")
        })
    )
  )

  it.effect.each([
    { whose: "vLLM", text: '{"detail":"Not Found"}' },
    { whose: "llama.cpp", text: '{"error":{"message":"File Not Found","type":"not_found_error","code":404}}' },
    { whose: "Anthropic", text: '{"type":"error","error":{"type":"not_found_error","message":"Not Found"}}' },
    { whose: "OpenAI", text: '{"error":{"message":"Invalid URL (POST /v1/none)","type":"invalid_request_error"}}' },
    { whose: "Ollama", text: "404 page not found" }
  ])("is none where a 404 of $whose is about the path", ({ text }) =>
    withGateway({ script: { a: [answer(404, text), well], b: [well] } }, (gateway) =>
      Effect.gen(function* () {
        assert.strictEqual((yield* gateway.ask()).status, 404)
        assert.strictEqual(gateway.transport.asked, "a")
        assert.strictEqual(gateway.state("a").refusals.size, 0, "others' requests for the model go there as before")
      })
    )
  )

  it.effect("passes as it is on what goes by path", () =>
    withGateway({ script: { a: [answer(403, "no")], b: [well] } }, (gateway) =>
      Effect.gen(function* () {
        assert.strictEqual((yield* gateway.ask({ method: "GET", path: "/docs" })).status, 403)
        assert.strictEqual(gateway.transport.asked, "a")
      })
    )
  )

  it.effect("is remembered for a bounded number of models, whose names may be a client's", () =>
    withGateway({ script: { a: [answer(403)] } }, (gateway) =>
      Effect.sync(() => {
        const state = gateway.state("a")
        for (let i = 0; i < 10_000; i++) state.refused(`m${i}`, 0)
        assert.isAtMost(state.refusals.size, 256)
      })
    )
  )
})

describe("a backend that refuses the gateway's credential", () => {
  const refused = answer(401, '{"error":{"message":"Incorrect API key provided: sk-up***."}}')

  it.effect("is replaced by another one, and is misconfigured from then on, whatever its probes say", () =>
    withGateway({ script: { a: [refused], b: [well] } }, (gateway) =>
      Effect.gen(function* () {
        for (let i = 0; i < 5; i++) {
          assert.strictEqual((yield* gateway.ask()).status, 200)
          yield* TestClock.adjust("8 seconds")
        }
        assert.strictEqual(gateway.transport.asked, "abbbbb")
        assert.strictEqual(gateway.state("a").health.status, "misconfigured")
        assert.strictEqual(gateway.state("a").failures, 0)
      })
    )
  )

  it.effect("is tried by one request a minute, and is back when that is answered", () =>
    withGateway({ script: { a: [refused, refused, well], b: [well] } }, (gateway) =>
      Effect.gen(function* () {
        yield* gateway.ask()
        yield* TestClock.adjust("61 seconds")
        yield* gateway.ask()
        yield* gateway.ask()
        assert.strictEqual(gateway.transport.asked, "ababb")
        yield* TestClock.adjust("61 seconds")
        assert.strictEqual((yield* gateway.ask()).headers["x-routed-node"], "a")
        assert.strictEqual(gateway.state("a").health.status, "healthy")
      })
    )
  )

  it.effect("is back when its configuration changes", () =>
    withGateway({ script: { a: [refused, well], b: [well] } }, (gateway) =>
      Effect.gen(function* () {
        yield* gateway.ask()
        const { config } = gateway.registry.current()
        const backends = config.backends.map((backend) => ({ ...backend, weight: backend.name === "a" ? 2 : 1 }))
        yield* Effect.orDie(putInForce(gateway.registry, { ...config, backends }))
        yield* gateway.ask()
        assert.strictEqual(gateway.transport.asked.at(-1), "a")
      })
    )
  )

  it.effect.each([
    { what: "alone", script: { a: [refused] } },
    { what: "as all others do", script: { a: [refused], b: [refused] } }
  ])("a backend that refuses $what: the client gets a 502 that says so, and never a 401", ({ script }) =>
    withGateway({ script }, (gateway) =>
      Effect.gen(function* () {
        for (let i = 0; i < 3; i++) {
          const error = yield* gateway.refusal()
          assert.deepStrictEqual([error.status, error.code], [502, "upstream_error"])
          assert.match(error.message, /credential/)
          assert.notMatch(error.message, /sk-up/)
        }
        assert.isAtMost(gateway.transport.asked.length, 2, "not asked again for a minute")
      })
    )
  )

  const two = { a: { models: ["m", "n"] }, b: { models: ["m", "n"] } }

  it.effect("a backend that refuses for one model goes on to be asked for those that it has answered for", () =>
    withGateway({ script: { a: [well, refused, well], b: [well] }, backends: two }, (gateway) =>
      Effect.gen(function* () {
        yield* gateway.ask()
        assert.strictEqual((yield* gateway.ask({ body: { model: "n" } })).headers["x-routed-node"], "b")
        yield* gateway.ask()
        assert.strictEqual(gateway.transport.asked, "aaba")
        assert.strictEqual(gateway.state("a").health.status, "healthy")
        yield* gateway.ask({ body: { model: "n" } })
        assert.strictEqual(gateway.transport.asked, "aabab", "it is asked last for the model that it refuses")
      })
    )
  )

  it.effect("a lone backend that refuses one model answers for others: clients of the one get a 502", () =>
    withGateway({ script: { a: [well, refused, well, refused, well] }, backends: { a: two.a } }, (gateway) =>
      Effect.gen(function* () {
        yield* gateway.ask()
        for (let i = 0; i < 2; i++) {
          const error = yield* gateway.refusal({ body: { model: "n" } })
          assert.deepStrictEqual([error.status, error.code], [502, "upstream_error"])
          assert.strictEqual((yield* gateway.ask()).status, 200)
        }
      })
    )
  )

  it.effect("a backend that refuses a model that it has answered for, and every other since, is misconfigured", () =>
    withGateway({ script: { a: [well, refused, well], b: [well] }, backends: two }, (gateway) =>
      Effect.gen(function* () {
        yield* gateway.ask()
        yield* gateway.ask()
        yield* gateway.ask({ body: { model: "n" } })
        assert.strictEqual(gateway.transport.asked, "aabb")
        assert.strictEqual(gateway.state("a").health.status, "misconfigured")
      })
    )
  )

  it.effect("hides no failure of another backend", () =>
    withGateway({ script: { a: [refused], b: [answer(500, "broken")] } }, (gateway) =>
      Effect.gen(function* () {
        assert.strictEqual((yield* gateway.ask()).status, 500)
      })
    )
  )
})

describe("what is not asked again", () => {
  it.effect.each([
    { what: "whole answers", question: {}, pool: {} },
    {
      what: "streams that are read as a whole",
      question: { body: { stream: true } },
      pool: { client: { stream: false } }
    }
  ])("$what that took as long as they may are not asked for again", ({ pool, question }) =>
    withGateway(
      {
        script: { a: [silence], b: [well] },
        backends: { a: { timeouts: { request: "2s" } }, b: { timeouts: { request: "2s" } } },
        pool
      },
      (gateway) =>
        Effect.gen(function* () {
          assert.strictEqual((yield* gateway.refusal(question)).code, "upstream_timeout")
          assert.strictEqual(gateway.transport.asked, "a")
        })
    )
  )

  it.effect("a silent engine is not asked again: its fallback model answers", () =>
    withGateway(
      {
        script: { a: [silence], b: [well] },
        backends: { a: { models: ["m"], timeouts: { firstByte: "2s" } }, b: { models: ["n"] } },
        more: { models: [{ match: "m", fallbacks: ["n"] }] }
      },
      (gateway) =>
        Effect.gen(function* () {
          assert.strictEqual((yield* gateway.ask()).status, 200)
          assert.strictEqual(gateway.transport.asked, "ab")
        })
    )
  )

  it.effect("a third engine is not asked after two that were silent", () =>
    withGateway(
      {
        script: { a: [silence], b: [silence], c: [well] },
        pool: { retry: { attempts: 5 }, client: { timeouts: { firstByte: "1s" } } }
      },
      (gateway) =>
        Effect.gen(function* () {
          assert.strictEqual((yield* gateway.refusal({ body: { stream: true } })).code, "upstream_timeout")
          assert.strictEqual(gateway.transport.asked, "ab")
        })
    )
  )
})

describe("the time in the queue", () => {
  it.effect("is bounded for all waits of a request together", () =>
    withGateway(
      {
        script: { a: [reset("1 millis")] },
        backends: { a: { maxConcurrency: 1 } },
        pool: {
          admission: { queueTimeout: "10s" },
          retry: { attempts: 20, initialDelay: "10ms", maxDelay: "10ms" }
        }
      },
      (gateway) =>
        Effect.gen(function* () {
          let other = leaseOf(gateway.backend("a"))
          const begin = gateway.now()
          const fiber = yield* gateway.start(Effect.result(gateway.request()))
          yield* TestClock.adjust("6 seconds")
          other.release()
          // It gets its place, fails there, and finds the place taken again.
          yield* gateway.passUntil(() => gateway.transport.asked === "a")
          other = leaseOf(gateway.backend("a"))
          yield* gateway.join(fiber)
          other.release()
          assert.isAtMost(gateway.now() - begin, 10_500)
        })
    )
  )
})
