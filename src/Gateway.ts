/** The program: every service as a layer, composed in this one place. */
import { type Effect, Layer } from "effect"
import { BackendAdapter } from "./backend/BackendAdapter.ts"
import type { ConfigInvalid, Loaded } from "./config/ConfigLoader.ts"
import type { GatewayConfig } from "./domain/GatewayConfig.ts"
import { MonotonicClock } from "./domain/MonotonicClock.ts"
import { HealthProber } from "./health/HealthProber.ts"
import { layer as layerHttp, type OnListening } from "./http/HttpFrontend.ts"
import { Proxy } from "./proxy/Proxy.ts"
import { layerBackendGauges } from "./registry/BackendGauges.ts"
import { ModelLabels } from "./registry/ModelLabels.ts"
import { Capacity, Registry } from "./registry/Registry.ts"
import { layerLogFollower } from "./reload/LogFollower.ts"
import { Reloader } from "./reload/Reloader.ts"
import { Admission } from "./resilience/Admission.ts"
import { CircuitBreaker } from "./resilience/CircuitBreaker.ts"
import { HedgePolicy } from "./resilience/HedgePolicy.ts"
import { OutlierDetector } from "./resilience/OutlierDetector.ts"
import { layerQueueGauges } from "./resilience/QueueGauges.ts"
import { RateLimiter } from "./resilience/RateLimiter.ts"
import { RetryPolicy } from "./resilience/RetryPolicy.ts"
import { Timers } from "./resilience/Timers.ts"
import { Router } from "./routing/Router.ts"
import { Scheduler } from "./scheduler/Scheduler.ts"
import { Exposition, layerProcessMetrics, layerStderr, Metrics, Tracing } from "./telemetry/Telemetry.ts"
import { layerUndici } from "./transport/UndiciTransport.ts"
import type { UpstreamTransport } from "./transport/UpstreamTransport.ts"

const layerTelemetry = (config: GatewayConfig) =>
  Layer.mergeAll(layerProcessMetrics, Exposition.layer(config.telemetry), Tracing.layer(config.telemetry)).pipe(
    Layer.provideMerge(Metrics.layer),
    Layer.provideMerge(Exposition.layerRegistry)
  )

/** The data plane and what it decides with, over a transport that may as well be a scripted one. */
export const layerCore = (
  config: GatewayConfig,
  transport: Layer.Layer<UpstreamTransport, never, MonotonicClock | Registry>
) =>
  Proxy.layer.pipe(
    Layer.provideMerge(HealthProber.layer),
    Layer.provideMerge(
      Layer.mergeAll(
        Router.layer,
        Scheduler.layer,
        Admission.layer,
        CircuitBreaker.layer,
        RateLimiter.layer,
        RetryPolicy.layer,
        HedgePolicy.layer,
        OutlierDetector.layer
      )
    ),
    Layer.provideMerge(Layer.mergeAll(BackendAdapter.layer, Timers.layer, ModelLabels.layer, transport)),
    Layer.provideMerge(Layer.mergeAll(Registry.layerMemory(config), Capacity.layer, MonotonicClock.layer))
  )

/** The whole gateway, serving what was loaded until its scope closes. `load` reads it again. */
export const layerGateway = (loaded: Loaded, load: Effect.Effect<Loaded, ConfigInvalid>, onListening: OnListening) => {
  const { config } = loaded
  // Built last, so its finaliser runs first: the end begins while everything still stands.
  return layerHttp(onListening).pipe(
    Layer.provideMerge(Reloader.layer(loaded, load)),
    Layer.provideMerge(Layer.mergeAll(layerBackendGauges, layerQueueGauges, layerLogFollower)),
    Layer.provideMerge(layerCore(config, layerUndici)),
    Layer.provideMerge(layerTelemetry(config)),
    Layer.provideMerge(layerStderr(config.telemetry.logs))
  )
}
