/**
 * The ways to key backends that exist now, each with its connections. One that the configuration has no use for any
 * more ends gracefully: what runs on it goes on to its end, and then its connections close.
 */
import { Duration, Redacted, Result } from "effect"
import type { Backend } from "../domain/Backend.ts"
import { type ClientSettings, defaultClient } from "../domain/Pool.ts"
import { defaultTimeouts } from "../domain/Settings.ts"
import type { Snapshot } from "../registry/Registry.ts"
import { readTls, type TlsMaterial } from "./BackendTls.ts"
import type { Connections } from "./ConnectionSet.ts"
import type { UpstreamFailed, UpstreamRequest } from "./UpstreamTransport.ts"

/** What is reached, and what makes a difference for a connection. */
type PoolKey = Pick<UpstreamRequest, "backend" | "client" | "connectTimeout" | "upgrade">

export interface ConnectionPool {
  readonly origin: string
  readonly host: string
  readonly proxied: boolean
  readonly dispatcher: Connections
}

/** How a pool is made; `proxy` is empty where there is none. */
export type MakeDispatcher = (key: PoolKey, origin: string, proxy: string, tls: TlsMaterial) => Connections

export class ConnectionPools {
  readonly #make: MakeDispatcher
  readonly #pools = new Map<string, ConnectionPool>()
  readonly #ending = new Set<Connections>()
  #snapshot: Snapshot
  // Two objects of the snapshot and a number name a pool: so no request builds its id again.
  #known = new WeakMap<Backend, WeakMap<ClientSettings, Map<number, ConnectionPool>>>()

  constructor(snapshot: Snapshot, make: MakeDispatcher) {
    this.#snapshot = snapshot
    this.#make = make
  }

  /** To be dispatched on synchronously: what is not used may be closed right after. */
  get(key: PoolKey): Result.Result<ConnectionPool, UpstreamFailed> {
    const { backend, client, connectTimeout } = key
    const known = needsTunnel(key) ? undefined : this.#known.get(backend)?.get(client)?.get(connectTimeout)
    if (known !== undefined) return Result.succeed(known)
    return Result.map(readTls(backend.tls), (tls) => this.#poolFor(key, tls))
  }

  #poolFor(key: PoolKey, tls: TlsMaterial): ConnectionPool {
    const { backend, client, connectTimeout } = key
    const id = idOf(key, tls)
    const pool = this.#pools.get(id) ?? this.#open(key, tls)
    if (this.#exists(backend)) {
      this.#pools.set(id, pool)
      if (needsTunnel(key)) return pool
      const ofBackend = this.#known.get(backend) ?? new WeakMap<ClientSettings, Map<number, ConnectionPool>>()
      const ofClient = ofBackend.get(client) ?? new Map<number, ConnectionPool>()
      this.#known.set(backend, ofBackend.set(client, ofClient.set(connectTimeout, pool)))
    } else {
      // For a request of an older snapshot: it is the last one on this pool.
      queueMicrotask(() => this.#end(pool))
    }
    return pool
  }

  /** Ends what a snapshot has no use for. What is named by the same objects as before may stand in renewed files now. */
  follow(snapshot: Snapshot): void {
    // What is refused now may be at the other end of a connection that was made before.
    const isStricter = snapshot.config.security !== this.#snapshot.config.security
    const wanted = isStricter ? new Set() : idsOf(snapshot)
    this.#snapshot = snapshot
    this.#known = new WeakMap()
    for (const [id, pool] of this.#pools) {
      if (wanted.has(id)) continue
      this.#pools.delete(id)
      this.#end(pool)
    }
  }

  /** Ends everything at once. */
  async destroy(): Promise<void> {
    const all = [...this.#ending, ...[...this.#pools.values()].map(({ dispatcher }) => dispatcher)]
    await Promise.allSettled(all.map((dispatcher) => dispatcher.destroy()))
  }

  /** Not by the port: a backend may be probed at another one. */
  #exists({ name, url }: Backend): boolean {
    const now = this.#snapshot.backends.get(name)?.config
    return now !== undefined && URL.parse(now.url)?.hostname === URL.parse(url)?.hostname
  }

  #open(key: PoolKey, tls: TlsMaterial): ConnectionPool {
    const { hostname, origin } = new URL(key.backend.url)
    const proxy = proxyOf(key.client)
    const dispatcher = this.#make(key, origin, proxy, tls)
    return { origin, host: hostname, proxied: proxy !== "", dispatcher }
  }

  #end({ dispatcher }: ConnectionPool): void {
    this.#ending.add(dispatcher)
    const ended = () => {
      this.#ending.delete(dispatcher)
    }
    dispatcher.close().then(ended, ended)
  }
}

const proxyOf = ({ proxy }: ClientSettings): string => (proxy === undefined ? "" : Redacted.value(proxy))

/** A proxy passes an upgrade on only through a tunnel, which plain requests to the same backend do without. */
const needsTunnel = ({ client, upgrade }: PoolKey): boolean => upgrade !== undefined && client.proxy !== undefined

const idOf = (key: PoolKey, tls: TlsMaterial): string => {
  const { backend, client, connectTimeout } = key
  return [
    backend.name,
    URL.parse(backend.url)?.origin,
    proxyOf(client),
    Duration.toMillis(client.keepAlive),
    Duration.toMillis(backend.maxConnectionAge),
    connectTimeout,
    tls.fingerprint,
    needsTunnel(key) ? "tunnel" : ""
  ].join(" ")
}

/** Every pool that a request or a probe of a snapshot can ask for. */
const idsOf = ({ backends, pools }: Snapshot): ReadonlySet<string> => {
  const clients = new Set([defaultClient, ...[...pools.values()].map(({ config }) => config.client)])
  const ids = new Set<string>()
  for (const { client, config: backend, probing } of backends.values()) {
    const read = readTls(backend.tls)
    if (Result.isFailure(read)) continue
    const tls = read.success
    for (const url of addressesOf(backend)) {
      ids.add(idOf({ backend: { ...backend, url }, client, connectTimeout: probing.timeout }, tls))
    }
    for (const each of clients) {
      const connect = backend.timeouts.connect ?? each.timeouts.connect
      const connectTimeout = connect === undefined ? defaultTimeouts.connect : Duration.toMillis(connect)
      ids.add(idOf({ backend, client: each, connectTimeout }, tls))
    }
  }
  return ids
}

/** Where it answers requests, and where it is probed. */
const addressesOf = ({ health: { port }, url }: Backend): ReadonlyArray<string> => {
  if (port === undefined) return [url]
  const probed = new URL(url)
  probed.port = String(port)
  return [url, probed.href]
}
