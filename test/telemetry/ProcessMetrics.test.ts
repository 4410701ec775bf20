import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { layerProcessMetrics } from "../../src/telemetry/ProcessMetrics.ts"
import { counted, layerMetrics, shown } from "./TestMetrics.ts"

const layer = layerProcessMetrics.pipe(Layer.provideMerge(layerMetrics))

it.live("a process tells its memory, its CPU time, its start and how late its event loop is", () =>
  Effect.gen(function* () {
    const gauge = (name: string) => Effect.map(shown(name), (series) => series[""] ?? Number.NaN)
    assert.isAbove(yield* gauge("process_resident_memory_bytes"), 1_000_000)
    assert.isAbove(yield* gauge("nodejs_heap_size_used_bytes"), 100_000)
    assert.isAtLeast(yield* gauge("nodejs_heap_size_total_bytes"), yield* gauge("nodejs_heap_size_used_bytes"))
    assert.isAtLeast(yield* gauge("weir_event_loop_delay_seconds"), 0)
    assert.isBelow(Math.abs((yield* gauge("process_start_time_seconds")) - Date.now() / 1000), 3600)
    const { "": cpu } = yield* counted("process_cpu_seconds_total")
    assert.isAbove(cpu ?? 0, 0)
  }).pipe(Effect.provide(layer))
)
