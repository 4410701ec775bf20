/** The gateway's metrics as a test reads them: real ones, in a registry of their own. */
import { Effect, Layer, Metric } from "effect"
import { Exposition } from "../../src/telemetry/Exposition.ts"
import { Metrics } from "../../src/telemetry/Metrics.ts"

export const layerMetrics = Metrics.layer.pipe(Layer.provideMerge(Layer.fresh(Exposition.layerRegistry)))

/** What a counter of this name has counted, by its labels' values joined with blanks. */
export const counted = (name: string): Effect.Effect<Record<string, number>> =>
  Effect.map(Metric.snapshot, (metrics) =>
    Object.fromEntries(
      metrics.flatMap((metric) =>
        metric.id === name && metric.type === "Counter"
          ? [[Object.values(metric.attributes ?? {}).join(" "), Number(metric.state.count)]]
          : []
      )
    )
  )

/** What gauges of this name show, by their labels' values joined with blanks. */
export const shown = (name: string): Effect.Effect<Record<string, number>> =>
  Effect.map(Metric.snapshot, (metrics) =>
    Object.fromEntries(
      metrics.flatMap((metric) =>
        metric.id === name && metric.type === "Gauge"
          ? [[Object.values(metric.attributes ?? {}).join(" "), Number(metric.state.value)]]
          : []
      )
    )
  )
