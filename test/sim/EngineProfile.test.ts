/** What a simulated server has where it passes for another engine than vLLM. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import type { EngineName, SimulatorOptions } from "../../src/sim/Simulator.ts"
import { at, chatBody, launch, parsed, postJson, send } from "./Harness.ts"

const key = "k-1"

const started = (engine: EngineName, more: SimulatorOptions = {}) =>
  launch({ engine, apiKey: Redacted.make(key), ...more })

const get = (url: string, headers: Record<string, string> = {}) => send(url, { headers })

const bearer = { authorization: `Bearer ${key}` }

const listOf = (text: string, field: string): ReadonlyArray<unknown> => {
  const list = at(parsed(text), field)
  return Array.isArray(list) ? list : []
}

describe("SGLang", () => {
  it.live("has its own metrics, of every card, and a health that generates", () =>
    Effect.gen(function* () {
      const { url } = yield* started("sglang")
      const { text } = yield* get(`${url}/metrics`, bearer)
      assert.match(text, /^sglang:num_running_reqs\{dp_rank="0",tp_rank="1",model_name="sim-model"\} 0$/m)
      assert.notInclude(text, "vllm:")
      assert.strictEqual((yield* get(`${url}/health_generate`, bearer)).status, 200)
    })
  )
})

describe("llama.cpp", () => {
  it.live("has its own metrics, and says that it is well", () =>
    Effect.gen(function* () {
      const { url } = yield* started("llama-cpp")
      assert.include((yield* get(`${url}/metrics`, bearer)).text, "llamacpp:requests_processing{")
      assert.strictEqual((yield* get(`${url}/health`)).text, '{"status":"ok"}')
    })
  )
})

describe("Ollama", () => {
  it.live("lists its models, those in memory apart, and takes a name without its tag", () =>
    Effect.gen(function* () {
      const { url } = yield* started("ollama", { models: ["gemma3:latest", "qwen3:8b"] })
      const listed = Effect.fnUntraced(function* (path: string) {
        return listOf((yield* get(url + path, bearer)).text, "models").map((model) => at(model, "name"))
      })
      assert.deepStrictEqual(yield* listed("/api/tags"), ["gemma3:latest", "qwen3:8b"])
      assert.deepStrictEqual(yield* listed("/api/ps"), [])
      const chat = (model: string) => postJson(`${url}/v1/chat/completions`, { ...chatBody("hi"), model }, bearer)
      assert.strictEqual((yield* chat("gemma3")).status, 200)
      assert.strictEqual((yield* chat("qwen3")).status, 404)
      assert.deepStrictEqual(yield* listed("/api/ps"), ["gemma3:latest"])
      for (const path of ["/health", "/metrics"]) assert.strictEqual((yield* get(url + path, bearer)).status, 404)
    })
  )
})

describe("Azure", () => {
  it.live("is found below /openai only, by the name of a deployment only with a version", () =>
    Effect.gen(function* () {
      const { url } = yield* started("azure-openai")
      const asked = (path: string) => postJson(url + path, chatBody("hi"), { "api-key": key })
      assert.strictEqual((yield* asked("/openai/v1/chat/completions")).status, 200)
      const deployed = "/openai/deployments/sim-model/chat/completions"
      assert.strictEqual((yield* asked(`${deployed}?api-version=2024-10-21`)).status, 200)
      assert.strictEqual((yield* asked(deployed)).status, 404)
      assert.strictEqual((yield* asked("/v1/chat/completions")).status, 404)
      assert.strictEqual((yield* get(`${url}/openai/v1/models`, { "x-api-key": key })).status, 401)
    })
  )
})

describe("Anthropic", () => {
  it.live("insists on a version, and lists twenty models where no more are asked for", () =>
    Effect.gen(function* () {
      const models = Array.from({ length: 30 }, (_, index) => `m-${index}`)
      const { url } = yield* started("anthropic", { models })
      const listed = (query: string, headers: Record<string, string>) => get(`${url}/v1/models${query}`, headers)
      const proper = { "x-api-key": key, "anthropic-version": "2023-06-01" }
      assert.strictEqual((yield* listed("", { "x-api-key": key })).status, 400)
      assert.strictEqual((yield* listed("", { ...proper, "x-api-key": "other" })).status, 401)
      assert.lengthOf(listOf((yield* listed("", proper)).text, "data"), 20)
      assert.lengthOf(listOf((yield* listed("?limit=1000", proper)).text, "data"), 30)
    })
  )
})
