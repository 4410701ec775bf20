/** `/stats`: what is known of each backend, for those with the admin token. */
import { Effect } from "effect"
import { type EngineLoad, freshLoad } from "../../domain/Health.ts"
import type { MonotonicClock } from "../../domain/MonotonicClock.ts"
import { type BackendEntry, type Capacity, type Snapshot, statusOf } from "../../registry/Registry.ts"
import type { Admission } from "../../resilience/Admission.ts"
import { json } from "../Responses.ts"
import type { BuiltinRoute } from "./BuiltinRoutes.ts"

export interface StatsServices {
  readonly admission: Pick<Admission["Service"], "active" | "depth">
  readonly capacity: Capacity["Service"]
  readonly clock: MonotonicClock["Service"]
}

export const statsRoute = (services: StatsServices): BuiltinRoute => ({
  route: "/stats",
  access: "admin",
  methods: { GET: ({ snapshot }) => Effect.sync(() => json(stats(snapshot, services, services.clock.now()))) }
})

const stats = ({ backends, pools }: Snapshot, { admission, capacity }: StatsServices, now: number) => ({
  active_requests: sum([...pools.keys()].map(admission.active)),
  queue_depth: sum([...pools.keys()].map(admission.depth)),
  pools: [...pools.values()].map(({ config, members, name }) => ({
    name,
    strategy: config.strategy,
    backends: members.map(({ backend }) => backend.name),
    active: admission.active(name),
    queued: admission.depth(name)
  })),
  backends: [...backends.values()].map((backend) => describe(backend, capacity, now))
})

const describe = (backend: BackendEntry, capacity: Capacity["Service"], now: number) => {
  const { circuit, failures, firstToken, inflight, latency, load, models, outcomes, requests } = backend.state
  const [p50, p95, p99] = latency.percentiles(0.5, 0.95, 0.99)
  const [ttft50, ttft95, ttft99] = firstToken.percentiles(0.5, 0.95, 0.99)
  return {
    name: backend.name,
    adapter: backend.config.adapter,
    enabled: backend.config.enabled,
    health: statusOf(backend, capacity, now),
    circuit: circuit.phase,
    inflight,
    requests,
    failures,
    error_rate: outcomes.failureRate(now),
    latency_ms: { ewma: latency.average, p50, p95, p99 },
    ttft_ms: { ewma: firstToken.average, p50: ttft50, p95: ttft95, p99: ttft99 },
    weight: backend.config.weight,
    max_concurrency: backend.config.maxConcurrency ?? null,
    models: [...(backend.models ?? models?.keys() ?? [])],
    load: load === undefined ? null : describeLoad(load, now)
  }
}

/** `stale`: too old to have a say in anything. */
const describeLoad = (load: EngineLoad, now: number) => ({
  running: load.running ?? null,
  waiting: load.waiting ?? null,
  foreign: load.foreign,
  kv_cache_usage: load.kvCacheUsage,
  gpu_usage: load.gpuUsage ?? null,
  resident_models: load.residentModels ?? null,
  age_ms: now - load.at,
  stale: freshLoad(load, now) === undefined
})

const sum = (values: ReadonlyArray<number>): number => values.reduce((total, value) => total + value, 0)
