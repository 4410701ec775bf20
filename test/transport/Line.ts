/** A line from the real transport to a backend of the test's making. */
import { Effect, Layer, type Scope } from "effect"
import type { Chunks } from "../../src/domain/Bytes.ts"
import { MonotonicClock } from "../../src/domain/MonotonicClock.ts"
import { Registry } from "../../src/registry/Registry.ts"
import { layerUndici } from "../../src/transport/UndiciTransport.ts"
import {
  BodyEnd,
  type ExchangeFailed,
  type UpstreamRequest,
  type UpstreamResponse,
  UpstreamTransport
} from "../../src/transport/UpstreamTransport.ts"
import { backendOf, configOf, poolOf } from "../registry/Fixtures.ts"
import { makeOrigin, type Origin } from "./Origin.ts"

export interface Line {
  readonly origin: Origin
  readonly registry: Registry["Service"]
  readonly request: (more?: Partial<UpstreamRequest>) => UpstreamRequest
  readonly send: (
    more?: Partial<UpstreamRequest>,
    started?: (abort: (failure: ExchangeFailed) => void) => void
  ) => Effect.Effect<UpstreamResponse, ExchangeFailed>
}

export interface Setting {
  readonly backend?: object
  readonly client?: object
  readonly security?: object
}

export const configFor = (url: string, { backend, client, security }: Setting) =>
  configOf({
    backends: [{ name: "a", url, ...backend }],
    pools: [{ name: "p", backends: ["a"], ...(client !== undefined && { client }) }],
    ...(security !== undefined && { security })
  })

/** An origin, and a line to it. */
export const onLine = <A, E>(
  use: (line: Line) => Effect.Effect<A, E, UpstreamTransport | Scope.Scope>,
  setting: Setting = {}
) =>
  Effect.gen(function* () {
    const origin = yield* makeOrigin
    const config = yield* configFor(origin.url, setting)
    const program = Effect.gen(function* () {
      const registry = yield* Registry
      const transport = yield* UpstreamTransport
      const request = (more: Partial<UpstreamRequest> = {}): UpstreamRequest => ({
        backend: more.backend ?? backendOf(registry.current(), "a").config,
        client: more.client ?? poolOf(registry.current(), "p").config.client,
        connectTimeout: 10_000,
        method: "GET",
        path: "/",
        headers: [],
        body: undefined,
        readable: false,
        ...more
      })
      return yield* use({
        origin,
        registry,
        request,
        send: (more, started = () => {}) => transport.send(request(more), started)
      })
    })
    return yield* Effect.provide(
      program,
      layerUndici.pipe(Layer.provideMerge(Layer.merge(Registry.layerMemory(config), MonotonicClock.layer)))
    )
  }).pipe(Effect.scoped)

export const ok = (body: string, headers = "") =>
  `HTTP/1.1 200 OK\r\n${headers}content-length: ${body.length}\r\n\r\n${body}`

export const readAll = Effect.fnUntraced(function* (response: UpstreamResponse) {
  const pieces: Array<Uint8Array> = []
  for (;;) {
    const read: Chunks | BodyEnd = yield* response.read
    if (read instanceof BodyEnd) return { text: Buffer.concat(pieces).toString("latin1"), failure: read.failure }
    pieces.push(...read)
  }
})

/** The end of a body is told from within undici's own callback; after it, the connection is free. */
export const nextTurn = Effect.callback<void>((resume) => {
  setImmediate(() => resume(Effect.void))
})
