/** The figures as Prometheus reads them: through the OpenTelemetry SDK and its Prometheus exporter, on our own route. */
import * as NodeSdk from "@effect/opentelemetry/NodeSdk"
import { PrometheusExporter, PrometheusSerializer } from "@opentelemetry/exporter-prometheus"
import { Context, Effect, Layer, Metric } from "effect"
import type { Telemetry } from "../domain/GatewayConfig.ts"
import { version } from "../domain/Version.ts"

export class Exposition extends Context.Service<
  Exposition,
  {
    /** All figures of this moment, in the text format. */
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
        const text = Effect.map(
          Effect.promise(() => exporter.collect()),
          ({ resourceMetrics }) => serializer.serialize(resourceMetrics)
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

  /** Figures of their own for each program, so that two gateways in one process do not share them. */
  static readonly layerFigures = Layer.sync(Metric.MetricRegistry, () => new Map())
}
