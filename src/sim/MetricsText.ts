/** Prometheus text under the names of vLLM. */
import type { Load, Totals } from "./Engine.ts"

interface Sample {
  readonly labels?: Readonly<Record<string, string>>
  readonly value: number
}

/** The text of `/metrics`. Every sample has the label `model_name`. */
export const metricsText = (modelName: string, load: Load, totals: Readonly<Totals>): string => {
  const metric = (type: "gauge" | "counter", name: string, help: string, samples: ReadonlyArray<Sample>) => {
    // As vLLM's client library does it: the family of a counter has no `_total`.
    const family = `vllm:${name}`
    const suffix = type === "counter" ? "_total" : ""
    const lines = samples.map(
      ({ labels, value }) => `${family}${suffix}${labelText({ ...labels, model_name: modelName })} ${value}`
    )
    return [`# HELP ${family}${suffix} ${help}`, `# TYPE ${family}${suffix} ${type}`, ...lines].join("\n")
  }
  const finished = Object.entries(totals.finished).map(([reason, value]) => ({
    labels: { finished_reason: reason },
    value
  }))
  const families = [
    metric("gauge", "num_requests_running", "Requests in the batch.", [{ value: load.running }]),
    metric("gauge", "num_requests_waiting", "Requests that wait for a slot.", [{ value: load.waiting }]),
    metric("gauge", "kv_cache_usage_perc", "KV cache in use; 1 is all of it.", [{ value: load.cacheUse }]),
    metric("counter", "prefix_cache_queries", "Prompt tokens looked up.", [{ value: totals.promptTokens }]),
    metric("counter", "prefix_cache_hits", "Prompt tokens remembered.", [{ value: totals.cachedTokens }]),
    metric("counter", "prompt_tokens", "Prompt tokens processed.", [{ value: totals.promptTokens }]),
    metric("counter", "generation_tokens", "Tokens generated.", [{ value: totals.generatedTokens }]),
    metric("counter", "request_success", "Requests generated to their end.", finished)
  ]
  return `${families.join("\n")}\n`
}

const labelText = (labels: Readonly<Record<string, string>>): string =>
  `{${Object.entries(labels)
    .map(([name, value]) => `${name}="${escaped(value)}"`)
    .join(",")}}`

const escaped = (value: string): string => value.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n")
