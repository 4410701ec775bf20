/**
 * The ways to reach backends that exist now, each with its connections. One that the configuration has no use for any
 * more ends gracefully: what runs on it goes on to its end, and then its connections close.
 */
import { Duration, Redacted } from "effect"
import type { Dispatcher } from "undici"
import type { Backend } from "../domain/Backend.ts"
import { type ClientSettings, defaultClient } from "../domain/Pool.ts"
import { defaultTimeouts } from "../domain/Settings.ts"
import type { Snapshot } from "../registry/Registry.ts"
import { readTls, type TlsMaterial } from "./BackendTls.ts"
import { UpstreamFailed, type UpstreamRequest } from "./UpstreamTransport.ts"

/** Who is reached, and what makes a difference for a connection. */
type Reach = Pick<UpstreamRequest, "backend" | "client" | "connectTimeout" | "upgrade">

export interface Line {
  readonly origin: string
  readonly host: string
  readonly proxied: boolean
  readonly dispatcher: Dispatcher
}

/** How a line is made; `proxy` is empty where there is none. */
export type MakeDispatcher = (reach: Reach, origin: string, proxy: string, tls: TlsMaterial) => Dispatcher

export class Lines {
  readonly #make: MakeDispatcher
  readonly #lines = new Map<string, Line>()
  readonly #ending = new Set<Dispatcher>()
  #snapshot: Snapshot
  // Two objects of the snapshot and a number name a line: so no request builds the key again.
  #known = new WeakMap<Backend, WeakMap<ClientSettings, Map<number, Line>>>()

  constructor(snapshot: Snapshot, make: MakeDispatcher) {
    this.#snapshot = snapshot
    this.#make = make
  }

  /** To be dispatched on in the same breath. */
  get(reach: Reach): Line | UpstreamFailed {
    const { backend, client, connectTimeout } = reach
    const tunnelled = needsTunnel(reach)
    const known = tunnelled ? undefined : this.#known.get(backend)?.get(client)?.get(connectTimeout)
    if (known !== undefined) return known
    const tls = readTls(backend.tls)
    if (tls instanceof UpstreamFailed) return tls
    const key = keyOf(reach, tls)
    const line = this.#lines.get(key) ?? this.#open(reach, tls)
    if (this.#exists(backend)) {
      this.#lines.set(key, line)
      if (tunnelled) return line
      const ofBackend = this.#known.get(backend) ?? new WeakMap<ClientSettings, Map<number, Line>>()
      const ofClient = ofBackend.get(client) ?? new Map<number, Line>()
      this.#known.set(backend, ofBackend.set(client, ofClient.set(connectTimeout, line)))
    } else {
      // For a request of an older snapshot: it is the last one on this line.
      queueMicrotask(() => this.#end(line))
    }
    return line
  }

  /** Ends what a snapshot has no use for. What is named by the same objects as before may stand in renewed files now. */
  follow(snapshot: Snapshot): void {
    // What is refused now may be at the other end of a connection that was made before.
    const isStricter = snapshot.config.security !== this.#snapshot.config.security
    const wanted = isStricter ? new Set() : keysOf(snapshot)
    this.#snapshot = snapshot
    this.#known = new WeakMap()
    for (const [key, line] of this.#lines) {
      if (wanted.has(key)) continue
      this.#lines.delete(key)
      this.#end(line)
    }
  }

  /** Ends everything at once. */
  async destroy(): Promise<void> {
    const all = [...this.#ending, ...[...this.#lines.values()].map(({ dispatcher }) => dispatcher)]
    await Promise.allSettled(all.map((dispatcher) => dispatcher.destroy()))
  }

  /** Not by the port: a backend may be watched at another one. */
  #exists({ name, url }: Backend): boolean {
    const now = this.#snapshot.backends.get(name)?.config
    return now !== undefined && URL.parse(now.url)?.hostname === URL.parse(url)?.hostname
  }

  #open(reach: Reach, tls: TlsMaterial): Line {
    const { hostname, origin } = new URL(reach.backend.url)
    const proxy = proxyOf(reach.client)
    const dispatcher = this.#make(reach, origin, proxy, tls)
    return { origin, host: hostname, proxied: proxy !== "", dispatcher }
  }

  #end({ dispatcher }: Line): void {
    this.#ending.add(dispatcher)
    const ended = () => {
      this.#ending.delete(dispatcher)
    }
    dispatcher.close().then(ended, ended)
  }
}

const proxyOf = ({ proxy }: ClientSettings): string => (proxy === undefined ? "" : Redacted.value(proxy))

/** A proxy passes an upgrade on only through a tunnel, which plain requests to the same backend do without. */
const needsTunnel = ({ client, upgrade }: Reach): boolean => upgrade !== undefined && client.proxy !== undefined

const keyOf = (reach: Reach, tls: TlsMaterial): string => {
  const { backend, client, connectTimeout } = reach
  return [
    backend.name,
    URL.parse(backend.url)?.origin,
    proxyOf(client),
    Duration.toMillis(client.keepAlive),
    Duration.toMillis(backend.maxConnectionAge),
    connectTimeout,
    tls.fingerprint,
    needsTunnel(reach) ? "tunnel" : ""
  ].join(" ")
}

/** Every line that a request or a probe of a snapshot can ask for. */
const keysOf = ({ backends, pools }: Snapshot): ReadonlySet<string> => {
  const clients = new Set([defaultClient, ...[...pools.values()].map(({ config }) => config.client)])
  const keys = new Set<string>()
  for (const { client, config: backend, probing } of backends.values()) {
    const tls = readTls(backend.tls)
    if (tls instanceof UpstreamFailed) continue
    for (const url of addressesOf(backend)) {
      keys.add(keyOf({ backend: { ...backend, url }, client, connectTimeout: probing.timeout }, tls))
    }
    for (const each of clients) {
      const connect = backend.timeouts.connect ?? each.timeouts.connect
      const connectTimeout = connect === undefined ? defaultTimeouts.connect : Duration.toMillis(connect)
      keys.add(keyOf({ backend, client: each, connectTimeout }, tls))
    }
  }
  return keys
}

/** Where it answers requests, and where it is watched. */
const addressesOf = ({ health: { port }, url }: Backend): ReadonlyArray<string> => {
  if (port === undefined) return [url]
  const watched = new URL(url)
  watched.port = String(port)
  return [url, watched.href]
}
