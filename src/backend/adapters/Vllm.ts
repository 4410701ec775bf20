import { type Adapter, genericAdapter } from "../Adapter.ts"
import { loadFromPrometheus } from "../EngineMetrics.ts"

/** vLLM: `/health` says whether the engine's loop runs, `/metrics` how much it has to do. */
export const vllm: Adapter = {
  ...genericAdapter,
  healthPath: "/health",
  loadPath: "/metrics",
  load: loadFromPrometheus({
    running: "vllm:num_requests_running",
    waiting: "vllm:num_requests_waiting",
    kvCacheUsage: ["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"]
  })
}
