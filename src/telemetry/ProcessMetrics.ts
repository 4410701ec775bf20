/** How the process itself is doing, under the names that Prometheus' own clients use. */

import { monitorEventLoopDelay, performance } from "node:perf_hooks"
import { getHeapStatistics } from "node:v8"
import { Effect, Layer } from "effect"
import { Metrics } from "./Metrics.ts"

const nanosPerSecond = 1e9

export const layerProcessMetrics = Layer.effectDiscard(
  Effect.gen(function* () {
    const { observe, observeTotal } = yield* Metrics
    const delay = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const histogram = monitorEventLoopDelay({ resolution: 20 })
        histogram.enable()
        return histogram
      }),
      (histogram) => Effect.sync(() => histogram.disable())
    )
    const startedAt = (performance.timeOrigin / 1000).toFixed(3)
    observe("weir_event_loop_delay_seconds", "99th percentile since the last look", {}, () => {
      const p99 = delay.percentile(99) / nanosPerSecond
      delay.reset()
      return Number.isFinite(p99) ? p99 : 0
    })
    observe("process_start_time_seconds", "Start of the process", {}, () => Number(startedAt))
    observe("process_resident_memory_bytes", "Resident memory", {}, () => process.memoryUsage.rss())
    observeTotal("process_cpu_seconds_total", "CPU time", () => {
      const { system, user } = process.cpuUsage()
      return (system + user) / 1e6
    })
    observe("nodejs_heap_size_used_bytes", "Heap in use", {}, () => getHeapStatistics().used_heap_size)
    observe("nodejs_heap_size_total_bytes", "Heap reserved", {}, () => getHeapStatistics().total_heap_size)
    observe(
      "nodejs_active_resources",
      "What keeps the process alive",
      {},
      () => process.getActiveResourcesInfo().length
    )
  })
)
