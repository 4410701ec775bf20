/** Everything that can be reached over HTTP, served on every configured listener. */
import { Effect, Layer } from "effect"
import type { Listener } from "../domain/Listener.ts"
import { Proxy } from "../proxy/Proxy.ts"
import { Registry, type Snapshot } from "../registry/Registry.ts"
import { Admission } from "../resilience/Admission.ts"
import { Deadlines } from "../resilience/Deadlines.ts"
import { RateLimiter } from "../resilience/RateLimiter.ts"
import { AccessLog, Exposition, Metrics, Tracing } from "../telemetry/Telemetry.ts"
import { makeClientAddress } from "./ClientAddress.ts"
import { Draining } from "./Draining.ts"
import { healthRoutes } from "./HealthRoutes.ts"
import { serveOn } from "./Listening.ts"
import { metricsRoute } from "./MetricsRoute.ts"
import { modelRoute, modelsRoute } from "./ModelsRoutes.ts"
import { type FindRoute, nothingHere, type OwnRoute } from "./OwnRoutes.ts"
import { makeReporter } from "./Reporter.ts"
import { HeldBodies } from "./RequestBody.ts"
import { statsRoute } from "./StatsRoute.ts"
import { makeSurface, type SurfaceServices } from "./Surface.ts"

export { Draining } from "./Draining.ts"

/** Told of every address that is open. */
export type OnListening = (surface: {
  readonly name: string
  readonly host: string
  readonly port: number
}) => Effect.Effect<void>

/** Opens the listeners of the snapshot at the start; a port that is taken fails the layer. */
export const layer = (onListening: OnListening) =>
  Layer.unwrap(
    Effect.gen(function* () {
      const registry = yield* Registry
      const proxy = yield* Proxy
      const deadlines = yield* Deadlines
      const draining = yield* Draining
      const metrics = yield* Metrics
      const tracing = yield* Tracing
      const admission = yield* Admission
      const exposition = yield* Exposition
      const { config } = registry.current()

      const services: SurfaceServices = {
        registry,
        proxy,
        deadlines,
        draining,
        metrics,
        tracing,
        limiter: yield* RateLimiter,
        reporter: makeReporter(metrics, yield* AccessLog, deadlines),
        clientAddress: makeClientAddress(),
        bodies: new HeldBodies()
      }
      const health = healthRoutes({ draining, deadlines, startedAt: deadlines.now() })
      const adminTable = new Map<string, OwnRoute>([
        ...health,
        ["/stats", statsRoute({ admission, deadlines })],
        ["/metrics", metricsRoute(exposition, config.admin.publicMetrics)]
      ])
      const list = modelsRoute(proxy.models)
      const one = modelRoute(proxy.models, modelPrefix)
      const clientRoute: FindRoute = (path) =>
        health.get(path) ?? (path === "/v1/models" ? list : path.startsWith(modelPrefix) ? one : undefined)
      const everyRoute: FindRoute = (path) => clientRoute(path) ?? adminTable.get(path)
      const adminRoute: FindRoute = (path) => adminTable.get(path) ?? nothingHere

      const open = (listener: Listener, find: FindRoute, listenerOf: (snapshot: Snapshot) => Listener) =>
        serveOn(listener, config, makeSurface(services, listenerOf, find), draining.opened, (port) =>
          onListening({ name: listener.name, host: listener.host, port })
        )

      const [first] = config.listeners
      const servers = config.listeners.map((listener) =>
        open(
          listener,
          config.admin.port === undefined && listener === first ? everyRoute : clientRoute,
          ({ listeners }) => listeners.get(listener.name) ?? listener
        )
      )
      const admin = adminListener(first, config.admin.host, config.admin.port)
      const all = admin === undefined ? servers : [...servers, open(admin, adminRoute, () => admin)]
      const [head, ...rest] = all
      return head === undefined ? Layer.empty : Layer.mergeAll(head, ...rest)
    })
  )

const modelPrefix = "/v1/models/"

/** The admin surface as a listener that no pool stands behind. */
const adminListener = (like: Listener, host: string, port: number | undefined): Listener | undefined => {
  if (port === undefined) return undefined
  const { connectTimeout } = like
  return {
    name: "admin",
    host,
    port,
    routes: [],
    connectTimeout,
    auth: false,
    trustedProxies: [],
    cors: { origins: [] }
  }
}
