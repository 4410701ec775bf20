/** The metrics as Prometheus reads them, on our own route. */
import { Context, Duration, Effect, Fiber, Latch, Layer, Metric } from "effect"
import type { Telemetry } from "../domain/GatewayConfig.ts"

export class Exposition extends Context.Service<
  Exposition,
  {
    /** All metrics of this moment, in the text format. */
    readonly text: Effect.Effect<string>
  }
>()("weir/telemetry/Exposition") {
  static readonly contentType = "text/plain; version=0.0.4; charset=utf-8"

  static readonly layer = ({ serviceName }: Telemetry): Layer.Layer<Exposition> =>
    Layer.effect(
      Exposition,
      Effect.gen(function* () {
        const wanted = yield* Latch.make()
        const writer = yield* Effect.timeoutOption(wanted.await, afterStart).pipe(
          Effect.andThen(load),
          Effect.flatMap(({ makeText }) => makeText(serviceName)),
          Effect.forkScoped
        )
        const text = wanted.open.pipe(
          Effect.andThen(Fiber.join(writer)),
          Effect.flatMap((loaded) => loaded.text)
        )
        return { text }
      })
    )

  /** Metrics of their own for each program, so that two gateways in one process do not share them. */
  static readonly layerRegistry = Layer.sync(Metric.MetricRegistry, () => new Map())
}

/**
 * When what writes the text is loaded, unless it is asked for before: it is a quarter of all that there is to load, and the
 * first answer does not wait for it.
 */
const afterStart = Duration.seconds(2)

/** Node loads a module with all that it needs in one go: piece by piece, no stream waits for 90 ms, but for some 30. */
const pieces: ReadonlyArray<() => Promise<object>> = [
  () => import("@opentelemetry/api"),
  () => import("@opentelemetry/resources"),
  () => import("@opentelemetry/sdk-metrics"),
  () => import("@opentelemetry/exporter-prometheus")
]

const load = Effect.forEach(pieces, (piece) => Effect.andThen(Effect.promise(piece), Effect.yieldNow), {
  discard: true
}).pipe(Effect.andThen(Effect.promise(() => import("./PrometheusText.ts"))))
