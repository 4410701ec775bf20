/** The transport that really connects: one pool of connections for each backend and way to key it. */

import { Readable } from "node:stream"
import { Duration, Effect, Layer, Random, Result, Stream } from "effect"
import { type buildConnector, Client, Pool, ProxyAgent } from "undici"
import { Pieces, slicesOf } from "../domain/Bytes.ts"
import { type EgressPolicy, makeEgressPolicy, makeProxyPolicy } from "../domain/EgressPolicy.ts"
import { MonotonicClock } from "../domain/MonotonicClock.ts"
import { derived, Registry } from "../registry/Registry.ts"
import { makeTellShortage } from "../telemetry/Shortages.ts"
import type { TlsMaterial } from "./BackendTls.ts"
import { Connection, type ConnectionSettings } from "./Connection.ts"
import { ConnectionPools } from "./ConnectionPools.ts"
import { ConnectionSet, type Connections } from "./ConnectionSet.ts"
import { guardedLookup, makeConnector, refused } from "./Connector.ts"
import { decodeContent } from "./ContentDecoding.ts"
import { Exchange } from "./Exchange.ts"
import { givenUpBefore } from "./StaleConnection.ts"
import {
  type Abort,
  type Cancel,
  type ExchangeFailed,
  isAtHand,
  type OnHead,
  type UpstreamBody,
  type UpstreamRequest,
  type UpstreamResponse,
  UpstreamTransport
} from "./UpstreamTransport.ts"

/** More than any engine sends in its head; more is refused, so that an endless head costs no more than this. */
const maxHeadBytes = 32 * 1024

export const layerUndici = Layer.effect(
  UpstreamTransport,
  Effect.gen(function* () {
    const registry = yield* Registry
    const policies = {
      backends: derived(registry.current, ({ config }) => makeEgressPolicy(config.security)),
      proxies: derived(registry.current, ({ config }) => makeProxyPolicy(config.security))
    }
    const random = yield* Random.Random
    const { now } = yield* MonotonicClock
    const pools = new ConnectionPools(registry.current(), (key, origin, proxy, tls) => {
      const maxAge = Duration.toMillis(key.backend.maxConnectionAge)
      return makeDispatcher(policies, { maxAge, now, random: () => random.nextDoubleUnsafe() }, key, origin, proxy, tls)
    })
    yield* Effect.addFinalizer(() => Effect.promise(() => pools.destroy()))
    yield* registry.follow((snapshot) => Effect.sync(() => pools.follow(snapshot)))

    const tellShortage = yield* makeTellShortage
    const dispatch = (request: UpstreamRequest, exchange: Exchange): void => {
      const pool = pools.get(request)
      if (Result.isFailure(pool)) return exchange.abort(pool.failure)
      const { dispatcher, host, origin, proxied } = pool.success
      // Behind a proxy the name is not resolved here; what it says by itself is looked at each time.
      const reason = proxied ? policies.backends().refuseHost(host) : undefined
      if (reason !== undefined) return exchange.abort(refused(reason))
      dispatcher.dispatch(
        {
          origin,
          path: request.path,
          method: request.method,
          headers: proxied ? pairsOf(headersOf(request)) : headersOf(request),
          body: toNodeBody(request.body),
          upgrade: request.upgrade ?? null,
          headersTimeout: 0,
          bodyTimeout: 0
        },
        exchange
      )
    }

    const open = (request: UpstreamRequest, started: (abort: Abort) => void, onHead: OnHead): Cancel => {
      let current: Exchange
      const begin = (patience: number): void => {
        const isRepeatable = patience > 0 && isAtHand(request.body)
        current = new Exchange((head) => {
          if (Result.isFailure(head) && head.failure === givenUpBefore) return begin(patience - 1)
          onHead(request.readable ? Result.map(head, decodeContent) : head)
        }, isRepeatable)
        started(current.abort)
        dispatch(request, current)
      }
      begin(staleConnections)
      return () => current.cancel()
    }

    const tellShort = (failure: ExchangeFailed): Effect.Effect<void> =>
      failure.kind === "local" ? tellShortage(failure.detail, "connections to backends") : Effect.void

    const send: UpstreamTransport["Service"]["send"] = (request, started) =>
      Effect.catch(
        Effect.callback<UpstreamResponse, ExchangeFailed>((resume) => {
          const cancel = open(request, started, (head) => resume(Effect.fromResult(head)))
          return Effect.sync(cancel)
        }),
        (failure) => Effect.andThen(tellShort(failure), Effect.fail(failure))
      )

    return UpstreamTransport.of({ send, open, tellShortage: tellShort })
  })
)

/** How many kept connections may turn out to have been given up by the engine, one after the other, for one request. */
const staleConnections = 3

interface Policies {
  readonly backends: () => EgressPolicy
  readonly proxies: () => EgressPolicy
}

const makeDispatcher = (
  { backends, proxies }: Policies,
  settings: ConnectionSettings,
  { client, connectTimeout, upgrade }: Pick<UpstreamRequest, "client" | "connectTimeout" | "upgrade">,
  origin: string,
  proxy: string,
  tls: TlsMaterial
): Connections => {
  const options = {
    pipelining: 1,
    keepAliveTimeout: Math.max(1, Duration.toMillis(client.keepAlive)),
    maxHeaderSize: maxHeadBytes,
    headersTimeout: 0,
    bodyTimeout: 0,
    // Said here too: where HTTP/2 is possible, requests wait for the first handshake to be over.
    allowH2: false
  }
  if (proxy === "") {
    const [to, connect] = [new URL(origin), makeConnector(backends, connectTimeout, tls.options)]
    return new ConnectionSet(() => new Connection(to, options, connect, settings))
  }
  const pool = (at: string | URL, more: object) =>
    new Pool(at, {
      ...options,
      ...more,
      factory: (to, made) =>
        "connect" in made && isConnector(made.connect)
          ? new Connection(to, made, made.connect, settings)
          : new Client(to, made)
    })
  return new ProxyAgent({
    ...options,
    factory: pool,
    connectTimeout,
    uri: proxy,
    // RFC 6455, 4.1: a proxy passes an upgrade on only through a tunnel, without TLS too.
    ...(upgrade !== undefined && { proxyTunnel: true }),
    requestTls: tls.options,
    proxyTls: { lookup: guardedLookup(proxies), autoSelectFamily: true },
    // To connect includes that the proxy has opened its tunnel.
    clientFactory: (url, more) => new Pool(url, { ...more, headersTimeout: connectTimeout })
  })
}

const isConnector = (value: unknown): value is buildConnector.connector => typeof value === "function"

/** In pairs: of a flat list, a proxy's agent would keep only the last value of each name. */
function* pairsOf(headers: ReadonlyArray<string>): Generator<[string, string]> {
  for (let i = 0; i + 1 < headers.length; i += 2) yield [headers[i] ?? "", headers[i + 1] ?? ""]
}

/** Bytes; to give a body as a stream costs some 20 µs, which of a shorter one would be much. */
const maxWholeBytes = 64 * 1024

const isLong = (body: UpstreamBody): body is Uint8Array | Pieces =>
  body instanceof Pieces || (body instanceof Uint8Array && body.length >= maxWholeBytes)

const toNodeBody = (body: UpstreamBody): Uint8Array | Readable | null => {
  if (isLong(body)) return new GivenOnce(body)
  if (body === undefined || body instanceof Uint8Array) return body ?? null
  return Readable.from(Stream.toAsyncIterable(body), { objectMode: false })
}

/** Of what comes as a stream undici does not see how long it is. */
const headersOf = ({ body, headers }: UpstreamRequest): Array<string> =>
  isLong(body) ? [...headers, "content-length", String(body.length)] : [...headers]

/** Bytes that are written at once: what goes over TLS is encrypted while everything else waits. */
const sliceBytes = 1024 * 1024

/**
 * A body that its sender does not keep: undici holds what it is given until the answer has ended, which for the
 * stream to a long prompt is minutes.
 */
class GivenOnce extends Readable {
  #slices: Generator<Uint8Array> | undefined

  constructor(body: Uint8Array | Pieces) {
    super()
    this.#slices = slicesOf(body, sliceBytes)
  }

  override _read(): void {
    const slice = this.#slices?.next()
    if (slice !== undefined && slice.done !== true) return void this.push(slice.value)
    this.#slices = undefined
    this.push(null)
  }
}
