/** Everything that can be reached over HTTP, served on every configured listener. */
import { Effect, Layer } from "effect"
import { MonotonicClock } from "../domain/MonotonicClock.ts"
import { Proxy } from "../proxy/Proxy.ts"
import { Capacity, Registry } from "../registry/Registry.ts"
import { Admission } from "../resilience/Admission.ts"
import { Timers } from "../resilience/Timers.ts"
import { Exposition, Metrics } from "../telemetry/Telemetry.ts"
import { makeRequestHandlers } from "./RequestHandler.ts"
import {
  type BuiltinRoute,
  type FindRoute,
  hasVersionTwice,
  nothingHere,
  versionTwice
} from "./routes/BuiltinRoutes.ts"
import { healthRoutes } from "./routes/HealthRoutes.ts"
import { metricsRoute } from "./routes/MetricsRoute.ts"
import { modelRoute, modelsRoute } from "./routes/ModelsRoutes.ts"
import { residentRoute, tagsRoute } from "./routes/OllamaRoutes.ts"
import { statsRoute } from "./routes/StatsRoute.ts"
import type { Binding } from "./server/Bindings.ts"
import { holdAgainstLimit, readDescriptorLimit } from "./server/DescriptorLimit.ts"
import { type OnListening, openListeners } from "./server/Listeners.ts"

export type { OnListening } from "./server/Listeners.ts"
export type { CannotListen } from "./server/Server.ts"

/** Opens the listeners of the snapshot and follows its changes; a port that is taken at the start fails the layer. */
export const layer = (onListening: OnListening) =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const registry = yield* Registry
      const capacity = yield* Capacity
      const proxy = yield* Proxy
      const clock = yield* MonotonicClock
      const metrics = yield* Metrics
      const admission = yield* Admission
      const exposition = yield* Exposition

      const handlerFor = yield* makeRequestHandlers
      // Written once, by the end.
      let draining = false
      const health = healthRoutes({ capacity, clock, startedAt: clock.now(), isDraining: () => draining })
      const isPublic = () => registry.current().config.admin.publicMetrics
      const adminTable = new Map<string, BuiltinRoute>([
        ...health,
        ["/stats", statsRoute({ admission, capacity, clock })],
        ["/metrics", metricsRoute(exposition, isPublic)]
      ])
      const one = modelRoute(proxy.models, modelPrefix)
      const list = modelsRoute(proxy.models)
      const table = new Map<string, BuiltinRoute>([
        ...health,
        ["/v1/models", list],
        ["/v1/models/", list],
        ["/api/tags", tagsRoute(proxy.models)],
        ["/api/ps", residentRoute(proxy.models)]
      ])
      const clients: FindRoute = (path, method) => {
        if (path.startsWith(modelPrefix)) return table.get(path) ?? one
        if (hasVersionTwice(path)) return versionTwice
        return table.get(path) ?? (isBareList(path, method) ? list : undefined)
      }
      const routes: Record<Binding["serves"], FindRoute> = {
        clients,
        everything: (path, method) => clients(path, method) ?? adminTable.get(path),
        admin: (path) => adminTable.get(path) ?? nothingHere
      }
      const descriptorLimit = yield* readDescriptorLimit
      yield* openListeners({
        registry,
        now: clock.now,
        timers: yield* Timers,
        onListening,
        onRefused: ({ name }) => metrics.connectionsRefused({ listener: name })(1),
        onEnd: () => {
          draining = true
        },
        waysOf: (context) => handlerFor(context, ({ serves }) => routes[serves])
      })
      yield* holdAgainstLimit(registry, descriptorLimit)
    })
  )

const modelPrefix = "/v1/models/"

/** A client whose base URL is without `/v1` asks for the models here; writes are an engine's own. */
const isBareList = (path: string, method: string): boolean =>
  (path === "/models" || path === "/models/") && (method === "GET" || method === "HEAD")
