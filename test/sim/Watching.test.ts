import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Redacted } from "effect"
import { at, chatBody, eventually, launch, parsed, postJson, send } from "./Harness.ts"
import { dial, post } from "./RawClient.ts"

const samplesOf = (text: string): ReadonlyMap<string, number> => {
  const samples = new Map<string, number>()
  for (const line of text.trimEnd().split("\n")) {
    if (line.startsWith("#")) {
      assert.match(line, /^# (HELP|TYPE) vllm:\w+ .+$/)
      continue
    }
    const [, name, labels, value] = /^(vllm:\w+)(\{(?:\w+="[^"]*",?)+\}) (\d+(?:\.\d+)?)$/.exec(line) ?? []
    assert.isDefined(value, line)
    assert.include(labels, 'model_name="sim-model"')
    if (!samples.has(name ?? "")) samples.set(name ?? "", Number(value))
  }
  return samples
}

describe("the metrics", () => {
  it.live("are Prometheus text under vLLM's names, and true", () =>
    Effect.gen(function* () {
      const simulator = yield* launch({ slots: 1 })
      yield* simulator.setFaults({ kind: "stall", afterTokens: 2 })
      const body = chatBody("hello ".repeat(40), { stream: true })
      const running = yield* dial(simulator.port, post("/v1/chat/completions", body))
      yield* running.until((received) => received.includes("Weir"))
      yield* dial(simulator.port, post("/v1/chat/completions", body))
      const { promptTokens } = yield* eventually(
        simulator,
        (stats) => stats.waiting === 1 && stats.generatedTokens === 2
      )
      const answer = yield* send(`${simulator.url}/metrics`)
      assert.include(answer.headers.get("content-type"), "text/plain")
      const samples = samplesOf(answer.text)
      assert.strictEqual(samples.get("vllm:num_requests_running"), 1)
      assert.strictEqual(samples.get("vllm:num_requests_waiting"), 1)
      assert.strictEqual(samples.get("vllm:generation_tokens_total"), 2)
      assert.strictEqual(samples.get("vllm:prompt_tokens_total"), promptTokens)
      assert.strictEqual(samples.get("vllm:prefix_cache_queries_total"), promptTokens)
      assert.strictEqual(samples.get("vllm:prefix_cache_hits_total"), 0)
      assert.strictEqual(samples.get("vllm:request_success_total"), 0)
      assert.isAbove(samples.get("vllm:kv_cache_usage_perc") ?? 0, 0)
    })
  )
})

describe("what an engine is watched by", () => {
  it.live("is an empty 200 for its health", () =>
    Effect.gen(function* () {
      const simulator = yield* launch()
      const answer = yield* send(`${simulator.url}/health`)
      assert.strictEqual(answer.status, 200)
      assert.strictEqual(answer.text, "")
      assert.strictEqual((yield* simulator.stats).started, 0)
    })
  )

  it.live("is busy in /llmhealth and /slots once half of its slots are in use, and idle when it is alone", () =>
    Effect.gen(function* () {
      const simulator = yield* launch({ slots: 2 })
      const health = Effect.map(send(`${simulator.url}/llmhealth`), ({ text }) => parsed(text))
      assert.deepStrictEqual(yield* health, { status: "idle", gpu_util_max5s: 0, window_seconds: 5 })
      yield* simulator.setFaults({ kind: "stall", afterTokens: 1 })
      const connection = yield* dial(simulator.port, post("/v1/chat/completions", chatBody("x", { stream: true })))
      yield* eventually(simulator, (stats) => stats.running === 1)
      assert.deepStrictEqual(yield* health, { status: "busy", gpu_util_max5s: 50, window_seconds: 5 })
      const slots = parsed((yield* send(`${simulator.url}/slots`)).text)
      assert.deepStrictEqual([at(slots, 0, "is_processing"), at(slots, 1, "is_processing")], [true, false])
      yield* connection.leave
      yield* eventually(simulator, (stats) => stats.running === 0)
      assert.deepStrictEqual(yield* health, { status: "idle", gpu_util_max5s: 50, window_seconds: 5 })
    })
  )

  it.live("is a list of models, and each of them by its id, slashes and all", () =>
    Effect.gen(function* () {
      const simulator = yield* launch({ models: ["a", "org/b:2"] })
      const list = parsed((yield* send(`${simulator.url}/v1/models`)).text)
      assert.strictEqual(at(list, "object"), "list")
      assert.deepStrictEqual([at(list, "data", 0, "id"), at(list, "data", 1, "id")], ["a", "org/b:2"])
      for (const path of ["org/b:2", "org%2Fb%3A2"]) {
        const one = parsed((yield* send(`${simulator.url}/v1/models/${path}`)).text)
        assert.strictEqual(at(one, "id"), "org/b:2")
        assert.strictEqual(at(one, "object"), "model")
      }
      for (const path of ["c", "%E0%A4%A"]) {
        const none = yield* send(`${simulator.url}/v1/models/${path}`)
        assert.strictEqual(none.status, 404)
      }
    })
  )
})

describe("a simulator with a key", () => {
  it.live("everything but health and steering asks for it", () =>
    Effect.gen(function* () {
      const simulator = yield* launch({ apiKey: Redacted.make("s3cret") })
      const status = (path: string, headers: Record<string, string> = {}) =>
        Effect.map(send(`${simulator.url}${path}`, { headers }), (answer) => answer.status)
      assert.strictEqual(yield* status("/health"), 200)
      assert.strictEqual(yield* status("/sim/stats"), 200)
      assert.strictEqual(yield* status("/v1/models"), 401)
      assert.strictEqual(yield* status("/metrics", { authorization: "Bearer wrong" }), 401)
      assert.strictEqual(yield* status("/v1/models", { authorization: "Bearer s3cret" }), 200)
      const refused = yield* postJson(`${simulator.url}/v1/chat/completions`, chatBody("x"))
      assert.strictEqual(refused.status, 401)
      assert.strictEqual(at(parsed(refused.text), "error", "code"), "invalid_api_key")
      const message = yield* postJson(`${simulator.url}/v1/messages`, chatBody("x"), { "x-api-key": "s3cret" })
      assert.strictEqual(message.status, 200)
    })
  )
})

describe("a failing share", () => {
  it.live("a failing share of requests is answered with 500, the same ones for a seed", () =>
    Effect.gen(function* () {
      const statuses = Effect.scoped(
        Effect.gen(function* () {
          const simulator = yield* launch({ failRate: 0.5, seed: 5, ttft: Duration.zero, itl: Duration.zero })
          return yield* Effect.replicateEffect(
            Effect.map(postJson(`${simulator.url}/v1/chat/completions`, chatBody("x")), ({ status }) => status),
            20
          )
        })
      )
      const first = yield* statuses
      assert.deepStrictEqual(new Set(first), new Set([200, 500]))
      assert.deepStrictEqual(yield* statuses, first)
    })
  )
})
