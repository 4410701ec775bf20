/** The transport that really connects: one pool of connections for each backend and way to reach it. */

import { Readable } from "node:stream"
import { Duration, Effect, Exit, Layer, Redacted, Stream } from "effect"
import { type Dispatcher, Pool, ProxyAgent } from "undici"
import type { Backend } from "../domain/Backend.ts"
import { type EgressPolicy, makeEgressPolicy } from "../domain/EgressPolicy.ts"
import type { ClientSettings } from "../domain/Pool.ts"
import { Registry } from "../registry/Registry.ts"
import { makeConnector } from "./Connector.ts"
import { decodeContent } from "./ContentDecoding.ts"
import { Exchange } from "./Exchange.ts"
import {
  type UpstreamBody,
  type UpstreamFailed,
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
    const policy = makeEgressPolicy(registry.current().config.security)
    const dispatchers = new Map<string, Dispatcher>()
    yield* Effect.addFinalizer(() =>
      Effect.promise(() => Promise.allSettled([...dispatchers.values()].map((dispatcher) => dispatcher.destroy())))
    )

    const lineFor = (request: UpstreamRequest): Line => {
      const { backend, client, connectTimeout } = request
      const { origin } = new URL(backend.url)
      const proxy = client.proxy === undefined ? "" : Redacted.value(client.proxy)
      const key = [backend.name, origin, proxy, Duration.toMillis(client.keepAlive), connectTimeout].join(" ")
      const dispatcher = dispatchers.get(key) ?? makeDispatcher(policy, request, origin, proxy)
      dispatchers.set(key, dispatcher)
      return { origin, dispatcher }
    }
    // Two objects of the snapshot name a line: so no request builds the key again.
    const lines = new WeakMap<Backend, WeakMap<ClientSettings, Line>>()
    const knownLine = (request: UpstreamRequest): Line => {
      const ofBackend = lines.get(request.backend) ?? new WeakMap<ClientSettings, Line>()
      const line = ofBackend.get(request.client) ?? lineFor(request)
      ofBackend.set(request.client, line)
      lines.set(request.backend, ofBackend)
      return line
    }

    return UpstreamTransport.of({
      send: (request, started) =>
        Effect.callback<UpstreamResponse, UpstreamFailed>((resume) => {
          const exchange = new Exchange((head) => resume(request.readable ? Exit.map(head, decodeContent) : head))
          started(exchange.abort)
          const { dispatcher, origin } = knownLine(request)
          dispatcher.dispatch(
            {
              origin,
              path: request.path,
              method: request.method,
              headers: [...request.headers],
              body: toNodeBody(request.body),
              headersTimeout: 0,
              bodyTimeout: 0
            },
            exchange
          )
          return Effect.sync(exchange.cancel)
        })
    })
  })
)

interface Line {
  readonly origin: string
  readonly dispatcher: Dispatcher
}

const makeDispatcher = (policy: EgressPolicy, request: UpstreamRequest, origin: string, proxy: string): Dispatcher => {
  const connect = makeConnector(policy, request.connectTimeout)
  const options = {
    pipelining: 1,
    keepAliveTimeout: Math.max(1, Duration.toMillis(request.client.keepAlive)),
    maxHeaderSize: maxHeadBytes,
    headersTimeout: 0,
    bodyTimeout: 0
  }
  return proxy === "" ? new Pool(origin, { ...options, connect }) : new ProxyAgent({ ...options, uri: proxy })
}

const toNodeBody = (body: UpstreamBody): Uint8Array | Readable | null => {
  if (body === undefined || body instanceof Uint8Array) return body ?? null
  return Readable.from(Stream.toAsyncIterable(body), { objectMode: false })
}
