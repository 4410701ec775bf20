/** The sockets: one server for each listener, and one for the admin surface where it has a port of its own. */

import { readFileSync } from "node:fs"
import { createServer, type Server } from "node:http"
import { createSecureServer, type Http2SecureServer } from "node:http2"
import type { Socket } from "node:net"
import { NodeHttpServer } from "@effect/platform-node"
import { Duration, Effect, Layer } from "effect"
import { HttpServer, type HttpServerRequest, type HttpServerResponse } from "effect/http"
import type { Scope } from "effect/Scope"
import type { GatewayConfig } from "../domain/GatewayConfig.ts"
import type { Listener } from "../domain/Listener.ts"
import { answerClientErrors } from "./ClientErrors.ts"

export type Surface = Effect.Effect<
  HttpServerResponse.HttpServerResponse,
  never,
  HttpServerRequest.HttpServerRequest | Scope
>

/** How long a connection may be idle between two requests: longer than clients and proxies in front commonly keep it. */
const keepAlive = Duration.toMillis("75 seconds")

/** A whole request may take this long to arrive: the silence in it is bounded elsewhere. */
const wholeRequest = Duration.toMillis("10 minutes")

/** Serves a surface on a listener's address until its scope closes; then nothing new is accepted. */
export const serveOn = (
  listener: Listener,
  { limits, server: { reusePort, shutdownGrace } }: GatewayConfig,
  surface: Surface,
  opened: (socket: Socket) => void,
  listening: (port: number) => Effect.Effect<void>
) => {
  const { host, port } = listener
  const makeServer = () => {
    const server = createNodeServer(listener, limits.maxHeaderBytes)
    server.on("connection", opened)
    answerClientErrors(server)
    return server
  }
  const announce = Effect.flatMap(HttpServer.HttpServer, ({ address }) =>
    listening(address._tag === "UnixPathAddress" ? 0 : address.port)
  )
  return HttpServer.serve(Effect.interruptible(surface)).pipe(
    Layer.provideMerge(Layer.effectDiscard(announce)),
    Layer.provide(
      NodeHttpServer.layerServer(makeServer, {
        host,
        port,
        reusePort,
        backlog: 4096,
        gracefulShutdownTimeout: shutdownGrace
      })
    )
  )
}

const createNodeServer = ({ connectTimeout, tls }: Listener, maxHeaderSize: number): Server | Http2SecureServer => {
  const options = {
    keepAliveTimeout: keepAlive,
    headersTimeout: Duration.toMillis(connectTimeout),
    requestTimeout: wholeRequest,
    connectionsCheckingInterval: 1000,
    maxHeaderSize,
    // Ours to say, in the form of all other errors.
    requireHostHeader: false,
    noDelay: true
  }
  // Their bytes are bounded; what is over a bound on their number would be left out in silence.
  const unbounded = { maxHeadersCount: 0 }
  if (tls === undefined) return Object.assign(createServer(options), unbounded)
  const pems = { cert: readFileSync(tls.cert), key: readFileSync(tls.key) }
  return Object.assign(createSecureServer({ ...options, ...pems, allowHTTP1: true }), unbounded)
}
