import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { withGateway } from "./Harness.ts"
import { answer, refuse, silence, stream } from "./ScriptedTransport.ts"

const well = answer(200, '{"ok":true}')
const used = (prompt: number, completion: number) =>
  answer(200, JSON.stringify({ usage: { prompt_tokens: prompt, completion_tokens: completion } }))

describe("what goes to a backend", () => {
  it.effect("is the client's request with the backend's credentials, and none of the client's", () =>
    withGateway(
      { script: { a: [well] }, backends: { a: { auth: { type: "bearer", token: "of-the-backend" } } } },
      (gateway) =>
        Effect.gen(function* () {
          const headers = {
            Authorization: "Bearer of-the-client",
            "x-api-key": "of-the-client",
            "X-Own": "1",
            Connection: "x-gone",
            "x-gone": "1"
          }
          yield* gateway.ask({ headers, query: "?a=%2F&b" })
          const [exchange] = gateway.transport.exchanges
          assert.isDefined(exchange)
          assert.strictEqual(exchange.request.path, "/v1/chat/completions?a=%2F&b")
          assert.strictEqual(exchange.header("authorization"), "Bearer of-the-backend")
          assert.strictEqual(exchange.header("x-own"), "1")
          assert.strictEqual(exchange.header("x-request-id"), "r-1")
          assert.notInclude(exchange.request.headers.join(), "of-the-client")
          assert.notInclude(exchange.request.headers, "x-gone")
        })
    )
  )

  it.effect("is any other path and method too, byte for byte", () =>
    withGateway({ script: { a: [well] } }, (gateway) =>
      Effect.gen(function* () {
        yield* gateway.ask({
          method: "PATCH",
          path: "/v1/a%20b//../c;d",
          query: "?x=%zz",
          raw: Buffer.from([0, 255, 1])
        })
        const [exchange] = gateway.transport.exchanges
        assert.deepStrictEqual([exchange?.request.method, exchange?.request.path], ["PATCH", "/v1/a%20b//../c;d?x=%zz"])
        assert.deepStrictEqual(exchange?.request.body, Buffer.from([0, 255, 1]))
      })
    )
  )
})

describe("a request that cannot be served", () => {
  const refusals = [
    { what: "that is no JSON", question: { raw: Buffer.from("{") }, status: 400, code: "invalid_json" },
    { what: "without a body", question: { raw: new Uint8Array(0) }, status: 400, code: "invalid_json" },
    { what: "without a model", question: { raw: Buffer.from("{}") }, status: 400, code: "model_required" },
    { what: "for an unknown model", question: { body: { model: "x" } }, status: 404, code: "model_not_found" },
    {
      what: "for a model that its key may not use",
      question: { key: "narrow" },
      status: 403,
      code: "model_not_allowed"
    },
    {
      what: "in a pool that its key may not use",
      question: { key: "elsewhere" },
      status: 403,
      code: "pool_not_allowed"
    }
  ]
  const keys = [
    { name: "narrow", key: "s1", models: ["other-*"] },
    { name: "elsewhere", key: "s2", pools: ["other"] }
  ]
  it.effect.each(refusals)(
    "a request $what is refused with $status $code, and no backend hears of it",
    ({ code, question, status }) =>
      withGateway({ script: { a: [well] }, more: { keys } }, (gateway) =>
        Effect.gen(function* () {
          const error = yield* gateway.refusal(question)
          assert.deepStrictEqual([error.status, error.code], [status, code])
          assert.strictEqual(gateway.transport.asked, "")
        })
      )
  )

  it.effect("a request for which no backend lives is a 503 that says when to come back", () =>
    withGateway({ script: { a: [refuse, well], b: [refuse, well] } }, (gateway) =>
      Effect.gen(function* () {
        for (const name of ["a", "b"]) gateway.transport.probes.set(name, refuse)
        yield* gateway.passUntil(() => ["a", "b"].every((name) => gateway.state(name).health.status === "unhealthy"))
        const error = yield* gateway.refusal()
        assert.deepStrictEqual([error.status, error.code], [503, "no_healthy_backend"])
        assert.isTrue((error.retryAfter ?? 0) >= 1 && (error.retryAfter ?? 0) <= 60)
        for (const name of ["a", "b"]) gateway.transport.probes.delete(name)
        yield* gateway.passUntil(() => gateway.state("a").health.status === "healthy")
        assert.strictEqual((yield* gateway.ask()).status, 200)
      })
    )
  )

  it.effect("a request to an empty pool is a 503 too", () =>
    withGateway({ script: {} }, (gateway) =>
      Effect.map(gateway.refusal(), ({ code }) => {
        assert.strictEqual(code, "no_healthy_backend")
      })
    )
  )

  it.effect("goes to the backend of last resort where there is one", () =>
    withGateway(
      {
        script: { a: [well], z: [well] },
        backends: { z: { models: ["other"] } },
        pool: { backends: ["a"] },
        more: { fallbackBackend: "z" }
      },
      (gateway) =>
        Effect.gen(function* () {
          assert.strictEqual((yield* gateway.ask({ body: { model: "unheard-of" } })).headers["x-routed-node"], "z")
          assert.strictEqual((yield* gateway.ask()).headers["x-routed-node"], "a")
        })
    )
  )

  it.effect("leaves no more of a long name than a log line can bear", () =>
    withGateway({ script: { a: [well] } }, (gateway) =>
      Effect.gen(function* () {
        yield* gateway.refusal({ body: { model: "x".repeat(100_000) } })
        assert.isAtMost(gateway.reading.report.model?.length ?? 0, 256)
      })
    )
  )
})

describe("a session", () => {
  const session = (name: string, model = "m") => ({ headers: { "x-session-key": name }, body: { model } })

  it.effect("stays on its backend, is told so, and is told when it had to move", () =>
    withGateway(
      {
        script: { a: [well, well, refuse], b: [well] },
        backends: { a: { models: ["m", "n"] }, b: { models: ["m", "n"] } },
        pool: { strategy: "round_robin" }
      },
      (gateway) =>
        Effect.gen(function* () {
          const outcome = (question: object) =>
            Effect.map(
              gateway.ask(question),
              ({ headers }) => `${headers["x-weir-sticky"]} ${headers["x-routed-node"]}`
            )
          assert.strictEqual(yield* outcome(session("s")), "miss a")
          assert.strictEqual(yield* outcome(session("t")), "miss b")
          assert.strictEqual(yield* outcome(session("s")), "hit a")
          assert.strictEqual(yield* outcome(session("s")), "moved b", "a has refused")
          assert.strictEqual(yield* outcome(session("s")), "hit b")
          assert.match(yield* outcome(session("s", "n")), /^miss /, "another model is another session")
          assert.match(yield* outcome({}), /^undefined /)
          assert.match(yield* outcome(session("")), /^undefined /)
        })
    )
  )
})

describe("a key with limits", () => {
  const keyed = (limits: object, ...script: ReadonlyArray<ReturnType<typeof answer>>) => ({
    script: { a: script },
    more: { keys: [{ name: "k", key: "secret", limits }] }
  })

  it.effect("is told what is left of them", () =>
    withGateway(keyed({ requestsPerMinute: 60, tokensPerMinute: 1000 }, used(100, 50)), (gateway) =>
      Effect.gen(function* () {
        const { headers } = yield* gateway.ask({ key: "k", body: { max_tokens: 10 } })
        assert.strictEqual(headers["x-ratelimit-limit-requests"], "60")
        assert.strictEqual(headers["x-ratelimit-remaining-requests"], "59")
        assert.match(headers["x-ratelimit-reset-requests"] ?? "", /^\d+\.\d{3}s$/)
        assert.strictEqual(headers["x-ratelimit-limit-tokens"], "1000")
        assert.isAtLeast(Number(headers["x-ratelimit-remaining-tokens"]), 1)
        const again = yield* gateway.ask({ key: "k", body: { max_tokens: 10 } })
        assert.approximately(
          Number(again.headers["x-ratelimit-remaining-tokens"]),
          1000 - 150 - 22,
          10,
          "what was really used"
        )
        assert.notProperty((yield* gateway.ask()).headers, "x-ratelimit-limit-requests")
      })
    )
  )

  it.effect("is refused beyond them with 429, and let in again when they have filled up", () =>
    withGateway(keyed({ requestsPerMinute: 2 }, well), (gateway) =>
      Effect.gen(function* () {
        yield* gateway.ask({ key: "k" })
        yield* gateway.ask({ key: "k" })
        const error = yield* gateway.refusal({ key: "k" })
        assert.deepStrictEqual([error.status, error.code], [429, "rate_limit_exceeded"])
        assert.approximately(error.retryAfter ?? 0, 30, 1)
        assert.strictEqual(gateway.transport.exchanges.length, 2)
        yield* TestClock.adjust("31 seconds")
        assert.strictEqual((yield* gateway.ask({ key: "k" })).status, 200)
      })
    )
  )

  it.effect("pays for the tokens of a stream as the backend counts them", () =>
    withGateway(
      keyed(
        { tokensPerMinute: 1000 },
        stream([
          'data: {"choices":[]}\n\n',
          'data: {"choices":[],"usage":{"prompt_tokens":300,"completion_tokens":200}}\n\n',
          "data: [DONE]\n\n"
        ]),
        well
      ),
      (gateway) =>
        Effect.gen(function* () {
          yield* gateway.ask({ key: "k", body: { stream: true, max_tokens: 900 } })
          const { headers } = yield* gateway.ask({ key: "k" })
          assert.approximately(Number(headers["x-ratelimit-remaining-tokens"]), 500, 30)
        })
    )
  )

  it.effect("does not pay for tokens where no backend was asked for any", () =>
    withGateway(
      { ...keyed({ tokensPerMinute: 1000 }, well), pool: { admission: { maxConcurrent: 1, maxQueue: 0 } } },
      (gateway) =>
        Effect.gen(function* () {
          const slow = yield* gateway.start(gateway.request())
          for (let i = 0; i < 5; i++) {
            assert.strictEqual((yield* gateway.refusal({ key: "k", body: { max_tokens: 900 } })).code, "queue_full")
            assert.strictEqual(gateway.transport.exchanges.length, 1)
          }
          yield* gateway.join(slow)
          assert.strictEqual((yield* gateway.ask({ key: "k", body: { max_tokens: 900 } })).status, 200)
        })
    )
  )
})

describe("what is written down of a request", () => {
  it.effect("is the backend that answered, after how many attempts, and how long it waited", () =>
    withGateway({ script: { a: [refuse], b: [answer(200, "{}", { after: "1 second" })] } }, (gateway) =>
      Effect.gen(function* () {
        const { report } = yield* gateway.ask()
        assert.deepStrictEqual([report.model, report.pool, report.backend, report.attempts], ["m", "default", "b", 2])
        assert.approximately(report.upstream, 1000, 20)
        assert.deepStrictEqual([report.queued, report.end], [0, "complete"])
      })
    )
  )

  it.effect("is there for a request that failed too", () =>
    withGateway({ script: { a: [silence] }, pool: { retry: { attempts: 0 } } }, (gateway) =>
      Effect.gen(function* () {
        yield* gateway.refusal({ headers: { "x-weir-timeout": "1s" } })
        const { report } = gateway.reading
        assert.deepStrictEqual([report.model, report.backend, report.attempts], ["m", "a", 1])
      })
    )
  )
})
