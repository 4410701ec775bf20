import { type Adapter, genericAdapter, healthFromStatus } from "../Adapter.ts"
import { loadFromPrometheus } from "../EngineMetrics.ts"

/**
 * SGLang: `/health` answers from the server itself and says 503 while the model is being loaded. `/health_generate`
 * has the engine make a token: it is slow under load, so that a busy engine would look dead; `health.path` asks for it all
 * the same. Metrics are there only where it was started with `--enable-metrics`.
 */
export const sglang: Adapter = {
  ...genericAdapter,
  healthPath: "/health",
  health: ({ status }) => (status === 503 ? "warming" : healthFromStatus(status)),
  loadPath: "/metrics",
  load: loadFromPrometheus({
    running: "sglang:num_running_reqs",
    waiting: "sglang:num_queue_reqs",
    kvCacheUsage: ["sglang:token_usage"],
    // Each rank of a tensor-parallel engine has the same requests; the queue of a priority is a part of the whole one.
    parts: /\btp_rank="(?!0")|\bpriority="[^"]/
  })
}
