/**
 * The configuration made ready for use: names resolved, lists turned into maps, everything a request needs at hand.
 * A snapshot never changes; a request keeps the one that it began with.
 */

import { Duration } from "effect"
import { type ApiKey, digestOfKey } from "../domain/ApiKey.ts"
import type { Backend } from "../domain/Backend.ts"
import type { GatewayConfig } from "../domain/GatewayConfig.ts"
import type { Listener } from "../domain/Listener.ts"
import { type ClientSettings, defaultClient, type Pool, type PoolMember } from "../domain/Pool.ts"
import { defaultTimeouts, type HealthDefaults, type HealthOverrides, type Timeouts } from "../domain/Settings.ts"
import type { BackendState } from "./BackendState.ts"
import type { Thresholds } from "./HealthMachine.ts"

/** A configured backend with its live state. */
export interface BackendEntry {
  readonly name: string
  readonly config: Backend
  readonly state: BackendState
  /** The models it is configured to serve; `undefined`: what discovery finds. */
  readonly models: ReadonlySet<string> | undefined
  /** The most requests that it may have at once; `Infinity` without a limit. */
  readonly capacity: number
  readonly probing: Probing
  /** How the pools that hold it make their connections; the first one's counts. */
  readonly client: ClientSettings
}

/** How a backend is probed; times in milliseconds. */
export interface Probing extends Thresholds {
  readonly interval: number
  readonly timeout: number
}

/** A backend in a pool, with what is special there. */
export interface Member {
  readonly backend: BackendEntry
  readonly weight: number
  /** Lower first. */
  readonly priority: number
  /** Milliseconds, from the backend, else the pool's client, else the defaults. */
  readonly timeouts: AttemptTimeouts
}

/** Milliseconds. */
export interface AttemptTimeouts {
  readonly connect: number
  /** Until the first output of a stream. */
  readonly firstByte: number
  /** Until the head of an answer that does not stream: it comes when all is done, so only where it was configured. */
  readonly firstByteOfWhole: number
  readonly idle: number
  readonly request: number
}

export interface PoolEntry {
  readonly name: string
  readonly config: Pool
  readonly members: ReadonlyArray<Member>
}

export interface Snapshot {
  /** Grows by one with every change. */
  readonly version: number
  readonly config: GatewayConfig
  readonly backends: ReadonlyMap<string, BackendEntry>
  readonly pools: ReadonlyMap<string, PoolEntry>
  readonly listeners: ReadonlyMap<string, Listener>
  /** Keys by the SHA-256 of the key, in lower-case hexadecimal. */
  readonly keys: ReadonlyMap<string, ApiKey>
}

/** Builds a snapshot; `stateOf` gives a backend its state, the old one where it is the same backend. */
export const makeSnapshot = (
  config: GatewayConfig,
  version: number,
  stateOf: (backend: Backend) => BackendState
): Snapshot => {
  const backends = new Map<string, BackendEntry>()
  for (const backend of config.backends) {
    const models = backend.models === undefined ? undefined : new Set(backend.models)
    const probing = resolveProbing(backend.health, config.health)
    const client = clientFor(backend.name, config.pools)
    backends.set(backend.name, {
      name: backend.name,
      config: backend,
      state: stateOf(backend),
      models,
      capacity: backend.maxConcurrency ?? Number.POSITIVE_INFINITY,
      probing,
      client
    })
  }
  const pools = new Map<string, PoolEntry>()
  for (const pool of config.pools) {
    const members = pool.backends.flatMap((member) => toMember(member, pool, backends))
    pools.set(pool.name, { name: pool.name, config: pool, members })
  }
  return {
    version,
    config,
    backends,
    pools,
    listeners: new Map(config.listeners.map((listener) => [listener.name, listener])),
    keys: new Map(config.keys.map((key) => [digestOfKey(key), key]))
  }
}

/** A backend as a member of `pool`. References are checked before a configuration gets here. */
export const toMember = (
  member: PoolMember,
  pool: Pool,
  backends: ReadonlyMap<string, BackendEntry>
): ReadonlyArray<Member> => {
  const { name, priority, weight } =
    typeof member === "string" ? { name: member, priority: 0, weight: undefined } : member
  const backend = backends.get(name)
  if (backend === undefined) return []
  const { config } = backend
  return [
    {
      backend,
      weight: weight ?? config.weight,
      priority,
      timeouts: resolveTimeouts(config.timeouts, pool.client.timeouts)
    }
  ]
}

const resolveProbing = (own: HealthOverrides, defaults: HealthDefaults): Probing => ({
  interval: Duration.toMillis(own.interval ?? defaults.interval),
  timeout: Duration.toMillis(own.timeout ?? defaults.timeout),
  unhealthyAfter: own.unhealthyAfter ?? defaults.unhealthyAfter,
  healthyAfter: own.healthyAfter ?? defaults.healthyAfter
})

const clientFor = (name: string, pools: ReadonlyArray<Pool>): ClientSettings => {
  const pool = pools.find(({ backends }) => backends.some((m) => (typeof m === "string" ? m : m.name) === name))
  return pool?.client ?? defaultClient
}

const resolveTimeouts = (own: Timeouts, pool: Timeouts): AttemptTimeouts => {
  const pick = (name: keyof typeof defaultTimeouts): number => {
    const configured = own[name] ?? pool[name]
    return configured === undefined ? defaultTimeouts[name] : Duration.toMillis(configured)
  }
  const firstByte = pick("firstByte")
  const configured = (own.firstByte ?? pool.firstByte) !== undefined
  return {
    connect: pick("connect"),
    firstByte,
    firstByteOfWhole: configured ? firstByte : Number.POSITIVE_INFINITY,
    idle: pick("idle"),
    request: pick("request")
  }
}
