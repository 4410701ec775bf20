/** The states that a backend can be in, as `/health`, `/stats` and the admin API name them. */
import { Schema } from "effect"

export const HealthStatus = Schema.Literals([
  /** Not probed yet: routable, but not counted as ready. */
  "unknown",
  "healthy",
  /** Alive, but at its limit or saturated: routable last. */
  "busy",
  /** Alive, but failing or far slower than its peers: routable last. */
  "degraded",
  /** Alive, but still loading its model. */
  "warming",
  /** Asked us to stay away until its Retry-After is over. */
  "rate_limited",
  /** Refused the credentials of a probe: a fault of the configuration, not of the engine. */
  "misconfigured",
  "unhealthy",
  /** Finishes what it has and gets nothing new. */
  "draining",
  "disabled"
])
export type HealthStatus = typeof HealthStatus.Type

/** Where in the order of choice a status puts a backend: first, last, or not at all. */
export type Standing = "first" | "last" | "out"

export const standingOf = (status: HealthStatus): Standing => {
  switch (status) {
    case "unknown":
    case "healthy":
      return "first"
    case "busy":
    case "degraded":
      return "last"
    case "warming":
    case "rate_limited":
    case "misconfigured":
    case "unhealthy":
    case "draining":
    case "disabled":
      return "out"
  }
}

/** What a backend says of a model that it serves. */
export interface ModelInfo {
  readonly id: string
  readonly created: number
  readonly ownedBy: string
  readonly maxModelLen?: number
}

/** An engine's own account of its load, as one answer gives it. */
export interface LoadReading {
  /** Requests; absent where it does not count them. */
  readonly running?: number
  readonly waiting?: number
  /** Share of the KV cache in use, 0 to 1; 0 where it does not tell. */
  readonly kvCacheUsage: number
  /** Share of the GPU in use, 0 to 1, where it tells. */
  readonly gpuUsage?: number
  /** The models that are in memory, where it tells: any other has to be loaded first. */
  readonly residentModels?: ReadonlyArray<string>
  /** When its process was started, in seconds since 1970, where it tells: what a former one had cached is gone. */
  readonly startedAt?: number
}

/** What a reading says once our own part of it is known. */
export interface EngineLoad extends LoadReading {
  /**
   * Work that is not ours: what the engine counted, less what we had with it when its answer came. With what we have
   * there now, it is the load of now: what was sent since is in it, and what has ended since is not.
   */
  readonly foreign: number
  /** Monotonic milliseconds at which it was read. */
  readonly at: number
}

export const engineLoad = (reading: LoadReading, inflight: number, at: number): EngineLoad => ({
  ...reading,
  foreign: Math.max(0, (reading.running ?? 0) + (reading.waiting ?? 0) - inflight),
  at
})

/** After this long a reading says nothing any more: neither that an engine is idle nor that it is full. */
const maxLoadAgeMillis = 15_000

/** The load to go by; `undefined` where there is none that still says something. */
export const freshLoad = (load: EngineLoad | undefined, now: number): EngineLoad | undefined =>
  load !== undefined && now - load.at <= maxLoadAgeMillis ? load : undefined
