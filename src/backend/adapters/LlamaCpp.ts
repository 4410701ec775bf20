import { type Adapter, genericAdapter, healthFromStatus } from "../Adapter.ts"
import { loadFromPrometheus } from "../EngineMetrics.ts"

/** llama.cpp's `llama-server`: 503 from `/health` while it loads its model; metrics only where it was started with them. */
export const llamaCpp: Adapter = {
  ...genericAdapter,
  healthPath: "/health",
  health: ({ status }) => (status === 503 ? "warming" : healthFromStatus(status)),
  loadPath: "/metrics",
  load: loadFromPrometheus({
    running: "llamacpp:requests_processing",
    waiting: "llamacpp:requests_deferred",
    kvCacheUsage: ["llamacpp:kv_cache_usage_ratio"]
  })
}
