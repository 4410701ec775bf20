/** The text of {@link Exposition}, by the OpenTelemetry SDK and its Prometheus exporter. */
import * as OtelMetrics from "@effect/opentelemetry/OtelMetrics"
import { configToAttributes, layerFromEnv } from "@effect/opentelemetry/Resource"
import { PrometheusExporter, PrometheusSerializer } from "@opentelemetry/exporter-prometheus"
import { DataPointType, type MetricData, type ResourceMetrics } from "@opentelemetry/sdk-metrics"
import { Effect, Layer } from "effect"
import { version } from "../domain/Version.ts"

/** Collects until the scope closes; `text` is all metrics of the moment at which it runs. */
export const makeText = Effect.fnUntraced(function* (serviceName: string) {
  const exporter = new PrometheusExporter({ preventServerStart: true })
  // No timestamps, no target_info, no otel_scope labels: the names and labels of the contract and nothing else.
  const serializer = new PrometheusSerializer("", false, undefined, true, true)
  const resource = layerFromEnv(configToAttributes({ serviceName, serviceVersion: version }))
  yield* Layer.build(
    Layer.provide(
      OtelMetrics.layer(() => exporter),
      resource
    )
  )
  const text = Effect.promise(() => exporter.collect()).pipe(
    Effect.flatMap(({ resourceMetrics }) => Effect.forEach(inPieces(resourceMetrics), written(serializer))),
    Effect.map((pieces) => pieces.join(""))
  )
  return { text }
})

/**
 * So many series are written in one turn of the event loop. With a thousand backends there are thirty thousand lines,
 * and for as long as it takes to write them all no stream would get its next token.
 */
const seriesAtOnce = 100

interface Piece {
  readonly metrics: ResourceMetrics
  /** Of a metric whose first series are in an earlier piece. */
  readonly continues: boolean
}

const inPieces = ({ resource, scopeMetrics }: ResourceMetrics): ReadonlyArray<Piece> =>
  scopeMetrics.flatMap(({ metrics, scope }) =>
    metrics.flatMap((metric) =>
      Array.from({ length: Math.ceil(metric.dataPoints.length / seriesAtOnce) }, (_, index) => ({
        metrics: { resource, scopeMetrics: [{ scope, metrics: [part(metric, index * seriesAtOnce)] }] },
        continues: index > 0
      }))
    )
  )

const part = (metric: MetricData, from: number): MetricData => {
  const to = from + seriesAtOnce
  switch (metric.dataPointType) {
    case DataPointType.SUM:
    case DataPointType.GAUGE:
      return { ...metric, dataPoints: metric.dataPoints.slice(from, to) }
    case DataPointType.HISTOGRAM:
      return { ...metric, dataPoints: metric.dataPoints.slice(from, to) }
    case DataPointType.EXPONENTIAL_HISTOGRAM:
      return { ...metric, dataPoints: metric.dataPoints.slice(from, to) }
  }
}

const written =
  (serializer: PrometheusSerializer) =>
  ({ continues, metrics }: Piece): Effect.Effect<string> =>
    Effect.andThen(
      Effect.yieldNow,
      Effect.sync(() => {
        const text = serializer.serialize(metrics)
        return continues ? text.replace(leadingComments, "") : text
      })
    )

/** What a metric is: said once, before its first series. */
const leadingComments = /^(?:#.*\n)+/
