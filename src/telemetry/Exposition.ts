/** The metrics as Prometheus reads them: through the OpenTelemetry SDK and its Prometheus exporter, on our own route. */
import * as NodeSdk from "@effect/opentelemetry/NodeSdk"
import { PrometheusExporter, PrometheusSerializer } from "@opentelemetry/exporter-prometheus"
import { DataPointType, type MetricData, type ResourceMetrics } from "@opentelemetry/sdk-metrics"
import { Context, Effect, Layer, Metric } from "effect"
import type { Telemetry } from "../domain/GatewayConfig.ts"
import { version } from "../domain/Version.ts"

export class Exposition extends Context.Service<
  Exposition,
  {
    /** All metrics of this moment, in the text format. */
    readonly text: Effect.Effect<string>
  }
>()("weir/telemetry/Exposition") {
  static readonly contentType = "text/plain; version=0.0.4; charset=utf-8"

  static readonly layer = (settings: Telemetry): Layer.Layer<Exposition> =>
    Layer.unwrap(
      Effect.sync(() => {
        const exporter = new PrometheusExporter({ preventServerStart: true })
        // No timestamps, no target_info, no otel_scope labels: the names and labels of the contract and nothing else.
        const serializer = new PrometheusSerializer("", false, undefined, true, true)
        const text = Effect.promise(() => exporter.collect()).pipe(
          Effect.flatMap(({ resourceMetrics }) => Effect.forEach(inPieces(resourceMetrics), written(serializer))),
          Effect.map((pieces) => pieces.join(""))
        )
        return Layer.merge(
          Layer.succeed(Exposition, { text }),
          Layer.effectDiscard(
            Layer.build(
              NodeSdk.layer(() => ({
                resource: { serviceName: settings.serviceName, serviceVersion: version },
                metricReader: exporter
              }))
            )
          )
        )
      })
    )

  /** Metrics of their own for each program, so that two gateways in one process do not share them. */
  static readonly layerRegistry = Layer.sync(Metric.MetricRegistry, () => new Map())
}

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
