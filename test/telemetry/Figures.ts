/** The gateway's figures as a test reads them: real metrics, in a registry of their own. */
import { Effect, Layer, Metric } from "effect"
import { Exposition } from "../../src/telemetry/Exposition.ts"
import { Metrics } from "../../src/telemetry/Metrics.ts"

export const layerMetrics = Metrics.layer.pipe(Layer.provideMerge(Layer.fresh(Exposition.layerFigures)))

/** What a counter of this name has counted, by its labels' values joined with blanks. */
export const counted = (name: string): Effect.Effect<Record<string, number>> =>
  Effect.map(Metric.snapshot, (figures) =>
    Object.fromEntries(
      figures.flatMap((figure) =>
        figure.id === name && figure.type === "Counter"
          ? [[Object.values(figure.attributes ?? {}).join(" "), Number(figure.state.count)]]
          : []
      )
    )
  )

/** What gauges of this name show, by their labels' values joined with blanks. */
export const shown = (name: string): Effect.Effect<Record<string, number>> =>
  Effect.map(Metric.snapshot, (figures) =>
    Object.fromEntries(
      figures.flatMap((figure) =>
        figure.id === name && figure.type === "Gauge"
          ? [[Object.values(figure.attributes ?? {}).join(" "), Number(figure.state.value)]]
          : []
      )
    )
  )
