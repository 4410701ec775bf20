/** Prometheus text under the names of the engine that is simulated. */
import type { Load, Totals } from "./Engine.ts"
import type { EngineName } from "./EngineProfile.ts"

interface Sample {
  readonly labels?: Readonly<Record<string, string>>
  readonly value: number
}

type Metric = readonly [type: "gauge" | "counter", name: string, help: string, samples: ReadonlyArray<Sample>]

/** The text of `/metrics`. Every sample has the label `model_name`. */
export const metricsText = (engine: EngineName, modelName: string, load: Load, totals: Readonly<Totals>): string => {
  const metrics = (makers.get(engine) ?? vllm)(load, totals)
  return `${metrics.map((metric) => metricText(modelName, metric)).join("\n")}\n`
}

const metricText = (modelName: string, [type, family, help, samples]: Metric): string => {
  // As vLLM's client library does it: the family of a counter has no `_total`.
  const suffix = type === "counter" ? "_total" : ""
  const lines = samples.map(
    ({ labels, value }) => `${family}${suffix}${labelText({ ...labels, model_name: modelName })} ${value}`
  )
  return [`# HELP ${family}${suffix} ${help}`, `# TYPE ${family}${suffix} ${type}`, ...lines].join("\n")
}

type Maker = (load: Load, totals: Readonly<Totals>) => ReadonlyArray<Metric>

const vllm: Maker = (load, totals) => [
  ["gauge", "vllm:num_requests_running", "Requests in the batch.", [{ value: load.running }]],
  ["gauge", "vllm:num_requests_waiting", "Requests that wait for a slot.", [{ value: load.waiting }]],
  ["gauge", "vllm:kv_cache_usage_perc", "KV cache in use; 1 is all of it.", [{ value: load.cacheUse }]],
  ["counter", "vllm:prefix_cache_queries", "Prompt tokens looked up.", [{ value: totals.promptTokens }]],
  ["counter", "vllm:prefix_cache_hits", "Prompt tokens remembered.", [{ value: totals.cachedTokens }]],
  ["counter", "vllm:prompt_tokens", "Prompt tokens processed.", [{ value: totals.promptTokens }]],
  ["counter", "vllm:generation_tokens", "Tokens generated.", [{ value: totals.generatedTokens }]],
  [
    "counter",
    "vllm:request_success",
    "Requests generated to their end.",
    Object.entries(totals.finished).map(([reason, value]) => ({ labels: { finished_reason: reason }, value }))
  ]
]

/** On two cards, of which each says the same. */
const ranks = (value: number): ReadonlyArray<Sample> =>
  ["0", "1"].map((rank) => ({ labels: { dp_rank: "0", tp_rank: rank }, value }))

const sglang: Maker = (load, totals) => [
  ["gauge", "sglang:num_running_reqs", "Requests in the batch.", ranks(load.running)],
  ["gauge", "sglang:num_queue_reqs", "Requests that wait for a slot.", ranks(load.waiting)],
  ["gauge", "sglang:token_usage", "KV cache in use; 1 is all of it.", ranks(load.cacheUse)],
  ["counter", "sglang:prompt_tokens", "Prompt tokens processed.", [{ value: totals.promptTokens }]],
  ["counter", "sglang:generation_tokens", "Tokens generated.", [{ value: totals.generatedTokens }]]
]

const llamaCpp: Maker = (load, totals) => [
  ["gauge", "llamacpp:requests_processing", "Requests in the batch.", [{ value: load.running }]],
  ["gauge", "llamacpp:requests_deferred", "Requests that wait for a slot.", [{ value: load.waiting }]],
  ["gauge", "llamacpp:kv_cache_usage_ratio", "KV cache in use; 1 is all of it.", [{ value: load.cacheUse }]],
  ["counter", "llamacpp:prompt_tokens", "Prompt tokens processed.", [{ value: totals.promptTokens }]],
  ["counter", "llamacpp:tokens_predicted", "Tokens generated.", [{ value: totals.generatedTokens }]]
]

const makers: ReadonlyMap<EngineName, Maker> = new Map([
  ["sglang", sglang],
  ["llama-cpp", llamaCpp]
])

const labelText = (labels: Readonly<Record<string, string>>): string =>
  `{${Object.entries(labels)
    .map(([name, value]) => `${name}="${escaped(value)}"`)
    .join(",")}}`

const escaped = (value: string): string => value.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n")
