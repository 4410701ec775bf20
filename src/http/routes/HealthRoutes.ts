/** Whether the gateway lives, whether it is ready, and how its backends are. */
import { Effect } from "effect"
import type { HealthStatus } from "../../domain/Health.ts"
import type { MonotonicClock } from "../../domain/MonotonicClock.ts"
import { version } from "../../domain/Version.ts"
import { type BackendEntry, type Capacity, type Snapshot, statusOf } from "../../registry/Registry.ts"
import { json } from "../Responses.ts"

import type { BuiltinRoute } from "./BuiltinRoutes.ts"

export interface HealthServices {
  /** Whether the end has begun: from that moment on nothing calls itself ready. */
  readonly isDraining: () => boolean
  readonly capacity: Capacity["Service"]
  readonly clock: MonotonicClock["Service"]
  readonly startedAt: number
}

/** States that count as being able to serve. */
const serving = new Set<HealthStatus>(["healthy", "busy", "degraded"])

export const healthRoutes = (services: HealthServices): ReadonlyMap<string, BuiltinRoute> => {
  const alive: BuiltinRoute = {
    route: "/healthz",
    access: "public",
    methods: { GET: () => Effect.succeed(json({ status: "ok" })) }
  }
  const ready: BuiltinRoute = {
    route: "/readyz",
    access: "public",
    methods: { GET: ({ snapshot }) => Effect.sync(() => readiness(snapshot, services)) }
  }
  const health: BuiltinRoute = {
    route: "/health",
    access: "public",
    methods: { GET: ({ snapshot }) => Effect.sync(() => json(describe(snapshot, services))) }
  }
  return new Map([
    ["/healthz", alive],
    ["/livez", alive],
    ["/ping", alive],
    ["/readyz", ready],
    ["/ready", ready],
    ["/health", health]
  ])
}

const readiness = ({ backends }: Snapshot, { capacity, clock, isDraining }: HealthServices) => {
  const now = clock.now()
  const all = [...backends.values()]
  const healthy = all.filter((backend) => serving.has(statusOf(backend, capacity, now))).length
  if (isDraining()) return json({ status: "not_ready", reason: "shutting_down" }, 503)
  if (healthy === 0) return json({ status: "not_ready", reason: "no_healthy_backend", healthy, total: all.length }, 503)
  return json({ status: "ready", healthy, total: all.length })
}

/** No address and no secret is in it: it can be read without a key. */
const describe = (snapshot: Snapshot, { capacity, clock, isDraining, startedAt }: HealthServices) => {
  const { backends, config, pools } = snapshot
  const now = clock.now()
  return {
    status: isDraining() ? "stopping" : "ok",
    version,
    uptime_seconds: Math.floor((now - startedAt) / 1000),
    strategy: (pools.get("default") ?? [...pools.values()][0])?.config.strategy ?? null,
    nodes: [...backends.values()].map((backend) => describeNode(backend, statusOf(backend, capacity, now))),
    settings: {
      pools: [...pools.values()].map(({ config: pool, name }) => ({
        name,
        strategy: pool.strategy,
        max_concurrent: pool.admission.maxConcurrent,
        max_queue: pool.admission.maxQueue,
        max_retries: pool.retry.attempts
      })),
      max_body_bytes: config.limits.maxBodyBytes
    }
  }
}

const describeNode = ({ name }: BackendEntry, state: HealthStatus) => ({
  name,
  status: serving.has(state) ? "healthy" : "unhealthy",
  state
})
