/** Every kind of engine behind the built gateway at once: found well, asked in its own way, told apart by its models. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Schema } from "effect"
import { type EngineName, Simulator } from "../../src/sim/Simulator.ts"
import { ask, chat, post } from "./Ask.ts"
import { eventually, serve } from "./Program.ts"

const key = "engine-key"
const bearer = { type: "bearer", token: key }

const engine = (name: EngineName, ...models: ReadonlyArray<string>) =>
  Simulator.make({ engine: name, name, models, apiKey: Redacted.make(key), tokens: 4 })

const Stats = Schema.Struct({
  backends: Schema.Array(
    Schema.Struct({
      name: Schema.String,
      health: Schema.String,
      models: Schema.Array(Schema.String),
      load: Schema.NullOr(
        Schema.Struct({
          running: Schema.NullOr(Schema.Number),
          waiting: Schema.NullOr(Schema.Number),
          gpu_usage: Schema.NullOr(Schema.Number),
          resident_models: Schema.NullOr(Schema.Array(Schema.String)),
          stale: Schema.Boolean
        })
      )
    })
  )
})
const decodeStats = Schema.decodeUnknownSync(Stats)

const scene = Effect.gen(function* () {
  const engines = {
    vllm: yield* engine("vllm", "m-vllm"),
    sglang: yield* engine("sglang", "m-sglang"),
    "llama-cpp": yield* engine("llama-cpp", "m-llama"),
    ollama: yield* engine("ollama", "gemma3:latest"),
    "llama-balancer": yield* engine("vllm", "m-site"),
    anthropic: yield* engine("anthropic", "claude-haiku-4-5-20251001"),
    azure: yield* engine("azure-openai", "m-azure"),
    dated: yield* engine("azure-openai", "m-dated")
  }
  const backend = (name: keyof typeof engines, more: object = {}) => ({
    name,
    adapter: name,
    url: engines[name].url,
    auth: bearer,
    ...more
  })
  const gateway = yield* serve({
    health: { interval: "200ms" },
    backends: [
      backend("vllm"),
      backend("sglang"),
      backend("llama-cpp"),
      backend("ollama"),
      backend("llama-balancer"),
      backend("anthropic"),
      backend("azure", { adapter: "azure-openai", models: ["m-azure"] }),
      backend("dated", {
        adapter: "azure-openai",
        url: `${engines.dated.url}/openai/deployments/m-dated?api-version=2024-10-21`
      })
    ]
  })
  const stats = Effect.map(ask(`${gateway.url}/stats`), ({ json }) => decodeStats(json).backends)
  const all = (test: (backends: typeof Stats.Type.backends) => boolean) => {
    let last: unknown
    return eventually(
      Effect.map(stats, (backends) => {
        last = backends
        return test(backends) ? backends : undefined
      }),
      () => JSON.stringify(last, null, 1)
    )
  }
  yield* all((backends) => backends.every(({ health, models }) => health === "healthy" && models.length > 0))
  return { engines, gateway, all }
})

describe("engines of every kind", () => {
  it.live("are found healthy with their models, each asked in its own way", () =>
    Effect.gen(function* () {
      const { all } = yield* scene
      const told = yield* all((backends) => backends.filter(({ load }) => load !== null).length === 5)
      assert.deepStrictEqual(Object.fromEntries(told.map(({ models, name }) => [name, models])), {
        vllm: ["m-vllm"],
        sglang: ["m-sglang"],
        "llama-cpp": ["m-llama"],
        ollama: ["gemma3:latest", "gemma3"],
        "llama-balancer": ["m-site"],
        anthropic: ["claude-haiku-4-5-20251001", "claude-haiku-4-5"],
        azure: ["m-azure"],
        dated: ["m-dated"]
      })
      const loads = new Map(told.map(({ load, name }) => [name, load]))
      for (const name of ["vllm", "sglang", "llama-cpp"]) {
        assert.deepInclude(loads.get(name), { running: 0, waiting: 0, stale: false }, name)
      }
      assert.deepInclude(loads.get("llama-balancer"), { running: 0, waiting: null, gpu_usage: 0 })
      assert.deepInclude(loads.get("ollama"), { running: null, resident_models: [] })
    })
  )

  it.live("answer a completion each, found by its model, with the key where that engine wants it", () =>
    Effect.gen(function* () {
      const { all, engines, gateway } = yield* scene
      const sent = [
        ["vllm", "m-vllm", "/v1/chat/completions", "authorization"],
        ["sglang", "m-sglang", "/v1/chat/completions", "authorization"],
        ["llama-cpp", "m-llama", "/v1/chat/completions", "authorization"],
        ["ollama", "gemma3", "/v1/chat/completions", "authorization"],
        ["llama-balancer", "m-site", "/v1/chat/completions", "authorization"],
        ["azure", "m-azure", "/openai/v1/chat/completions", "api-key"],
        ["dated", "m-dated", "/openai/deployments/m-dated/chat/completions?api-version=2024-10-21", "api-key"],
        ["anthropic", "claude-haiku-4-5-20251001", "/v1/chat/completions", "x-api-key"]
      ] as const
      for (const [name, model, path, header] of sent) {
        const answer = yield* chat(gateway.url, { model }, { authorization: "Bearer of-the-client" })
        assert.strictEqual(answer.status, 200, `${name}: ${answer.text}`)
        assert.strictEqual(answer.headers.get("x-routed-node"), name)
        const seen = (yield* engines[name].requests()).findLast(({ method }) => method === "POST")
        assert.strictEqual(seen?.url, path)
        const headers = seen?.headers.map(([key, value]) => [key.toLowerCase(), value] as const) ?? []
        assert.deepStrictEqual(
          headers.filter(([key]) => ["authorization", "api-key", "x-api-key"].includes(key)),
          [[header, header === "authorization" ? `Bearer ${key}` : key]]
        )
      }
      const told = yield* all((backends) =>
        backends.some(({ load }) => load?.resident_models?.includes("gemma3:latest") === true)
      )
      assert.lengthOf(told, 8)
    })
  )

  it.live("engines at Anthropic take its own dialect, streaming and not, with the version that the client names", () =>
    Effect.gen(function* () {
      const { engines, gateway } = yield* scene
      const body = {
        model: "claude-haiku-4-5-20251001",
        max_tokens: 3,
        messages: [{ role: "user", content: "Hello" }]
      }
      const version = { "anthropic-version": "2023-01-01", "x-api-key": "of-the-client" }
      const whole = yield* post(`${gateway.url}/v1/messages`, body, version)
      assert.deepInclude(whole.json, { type: "message", role: "assistant" })
      const stream = yield* post(`${gateway.url}/v1/messages`, { ...body, stream: true })
      assert.include(stream.text, "event: message_stop")
      const versions = (yield* engines.anthropic.requests())
        .filter(({ method }) => method === "POST")
        .map(({ headers }) => headers.find(([name]) => name.toLowerCase() === "anthropic-version")?.[1])
      assert.deepStrictEqual(versions, ["2023-01-01", "2023-06-01"])
    })
  )

  it.live("engines whose balancer says that they are busy are asked last", () =>
    Effect.gen(function* () {
      const busy = yield* Simulator.make({ slots: 1, models: ["m"] })
      const idle = yield* Simulator.make({ slots: 1, models: ["m"] })
      const site = (name: string, { url }: { readonly url: string }) => ({ name, adapter: "llama-balancer", url })
      const gateway = yield* serve({
        health: { interval: "100ms" },
        backends: [site("busy", busy), site("idle", idle)],
        pools: [{ name: "default", backends: ["busy", "idle"], strategy: "failover" }]
      })
      const shown = Effect.map(ask(`${gateway.url}/stats`), ({ json }) => decodeStats(json).backends)
      const state = (expected: string) =>
        eventually(
          Effect.map(shown, ([first]) => (first?.health === expected ? true : undefined)),
          () => `never ${expected}`
        )
      yield* state("healthy")
      assert.strictEqual((yield* chat(gateway.url, { model: "m" })).headers.get("x-routed-node"), "busy")
      // Another client keeps the first one busy.
      yield* busy.setFaults({ kind: "stall", afterTokens: 1, times: 1 })
      yield* Effect.forkScoped(chat(busy.url, { model: "m", stream: true }))
      // Only then: what is shown may still be of the first request, and the next one would meet the fault.
      yield* eventually(
        Effect.map(busy.stats, ({ running }) => (running === 1 ? true : undefined)),
        () => "somebody else at the first"
      )
      yield* state("busy")
      assert.strictEqual((yield* chat(gateway.url, { model: "m" })).headers.get("x-routed-node"), "idle")
    })
  )

  it.live("engines that are watched at a port of their own are found busy there and served here", () =>
    Effect.gen(function* () {
      const served = yield* Simulator.make({ models: ["m"] })
      const watched = yield* Simulator.make({ engine: "llama-cpp", slots: 1, models: ["m"] })
      const gateway = yield* serve({
        health: { interval: "100ms" },
        backends: [{ name: "a", adapter: "llama-balancer", url: served.url, health: { port: watched.port } }]
      })
      assert.strictEqual((yield* chat(gateway.url, { model: "m" })).status, 200)
      yield* watched.setFaults({ kind: "stall", afterTokens: 1, times: 1 })
      yield* Effect.forkScoped(chat(watched.url, { model: "m", stream: true }))
      yield* eventually(
        Effect.map(ask(`${gateway.url}/stats`), ({ json }) =>
          decodeStats(json).backends[0]?.health === "busy" ? true : undefined
        ),
        () => "never busy"
      )
      assert.strictEqual((yield* chat(gateway.url, { model: "m" })).headers.get("x-routed-node"), "a")
      assert.isFalse((yield* served.requests()).some(({ url }) => url === "/llmhealth"))
    })
  )
})
