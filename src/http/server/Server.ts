/** One open address: its server, its connections, and how it opens, changes and closes. */
import { readFile } from "node:fs/promises"
import { createServer, type IncomingMessage, type Server as NodeServer, type ServerResponse } from "node:http"
import {
  createSecureServer,
  type Http2SecureServer,
  type Http2ServerRequest,
  type Http2ServerResponse
} from "node:http2"
import { Server as NetServer, type Socket } from "node:net"
import { createSecureContext } from "node:tls"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Duration, Effect, Exit, Schedule, Schema, Scope } from "effect"
import type { HttpServerRequest, HttpServerResponse } from "effect/http"
import { cannotListen, isTaken } from "../../domain/CannotListen.ts"
import type { GatewayConfig } from "../../domain/GatewayConfig.ts"
import type { Listener } from "../../domain/Listener.ts"
import { FromNode, type MessageHead, type OutgoingResponse, type RequestSource } from "../Incoming.ts"
import { type PlainOptions, type PlainRequest, servePlainly } from "../plain/PlainServer.ts"
import type { Binding } from "./Bindings.ts"
import { answerClientErrors } from "./ClientErrors.ts"
import type { Connections } from "./Connections.ts"
import { type Pems, secureContext } from "./ServerTls.ts"
import { stopListening } from "./StopListening.ts"
import { takeUpgrades } from "./Upgrades.ts"

export type RequestHandler = Effect.Effect<
  HttpServerResponse.HttpServerResponse,
  never,
  HttpServerRequest.HttpServerRequest | Scope.Scope
>

/** Effect's server goes on with a request. */
export type HandOver = (
  message: IncomingMessage | Http2ServerRequest,
  response: ServerResponse | Http2ServerResponse
) => void

/** A request as it comes in. */
export interface Arriving {
  readonly message: MessageHead
  readonly response: OutgoingResponse
  readonly source: RequestSource
  readonly url: string
  /** Where it was read with its head. */
  readonly body: Uint8Array | undefined
}

/** What answers requests without a fiber, for as long as nothing has to be waited for. */
export interface FastWay {
  /** `false`: nothing was done for the request, it is for Effect's server. */
  readonly take: (arriving: Arriving, handOver: HandOver) => boolean
  /** Tells in the log of what none of this expects, and nothing else watches. */
  readonly tellDefect: (defect: unknown) => void
  /**
   * A fiber is there from now on for each request without an answer, so that the end of the server ends it. What this
   * gives ends those whose answer has begun.
   */
  readonly handAllOver: Effect.Effect<Effect.Effect<void>>
}

/** An address that cannot be had, or a certificate that cannot be used. */
export class CannotListen extends Schema.TaggedError<CannotListen>()("CannotListen", {
  /** As in `listeners[1].port`. */
  path: Schema.String,
  message: Schema.String,
  /** Whether that is because another process has the port. */
  taken: Schema.Boolean
}) {}

/** How long a connection may be idle between two requests: longer than clients and proxies in front commonly keep it. */
const keepAliveMillis = Duration.toMillis("75 seconds")

/** A whole request may take this long to arrive: the silence in it is bounded elsewhere. */
const maxRequestMillis = Duration.toMillis("10 minutes")

/**
 * How many streams a connection of HTTP/2 may have at once; without this, any number. And how long a decoded head may be
 * before Node resets its stream: each field counts for 32 bytes more than it has, so a head within `maxHeaderBytes` is
 * always within this, and one that is over it is mostly still told so.
 */
const http2Settings = (maxHeaderBytes: number) => ({
  maxConcurrentStreams: 256,
  maxHeaderListSize: Math.min(8 * maxHeaderBytes, 0xffff_ffff)
})

/** No bound of its own: the bytes of the fields are bounded. */
const maxHeaderListPairs = 1_000_000

/** `undefined` for an address without TLS. Read anew each time: files are renewed. */
export const readPems = Effect.fnUntraced(function* ({ listener: { tls }, path }: Binding) {
  if (tls === undefined) return undefined
  const read = (setting: "cert" | "key") =>
    Effect.tryPromise({
      try: () => readFile(tls[setting], "utf8"),
      catch: () => refuse(`${path}.tls.${setting}`, "this file cannot be read")
    })
  const pems: Pems = { cert: yield* read("cert"), key: yield* read("key") }
  yield* Effect.try({
    try: () => createSecureContext(pems),
    catch: () => refuse(`${path}.tls`, "these are not a certificate and its key in PEM form")
  })
  return pems
})

const refuse = (path: string, message: string) => new CannotListen({ path, message, taken: false })

export interface Server {
  /** The port that it really has. */
  readonly port: number
  readonly connections: Connections
  /** Takes over what needs no other socket: limits, and a renewed certificate. */
  readonly adjust: (binding: Binding, config: GatewayConfig, pems: Pems | undefined) => void
  /** Nothing new is accepted. What the system had accepted already is served. */
  readonly stopListening: Effect.Effect<void>
  readonly listenAgain: Effect.Effect<void, CannotListen>
  /** Returns when nothing is under way any more, or after `grace`. */
  readonly drain: (grace: Duration.Duration) => Effect.Effect<void>
  /** Cuts what is left. */
  readonly close: Effect.Effect<void>
}

/** Opens an address; `handler` answers what comes in. What opens it closes it. */
export const openServer = Effect.fnUntraced(function* (
  binding: Binding,
  config: GatewayConfig,
  pems: Pems | undefined,
  connections: Connections,
  handler: RequestHandler,
  fastWay: FastWay,
  services: Pick<PlainOptions, "now" | "timers">
) {
  const { listener, path } = binding
  const address = { host: listener.host, port: listener.port, reusePort: config.server.reusePort, backlog: 4096 }
  const server = makeServer(listener, config.limits.maxHeaderBytes, pems)
  let current = { pems, connectTimeout: listener.connectTimeout, maxHeadBytes: config.limits.maxHeaderBytes }
  let takePlain = takesNothing
  servePlainly(server, {
    ...services,
    take: (request) => takePlain(request),
    onDefect: fastWay.tellDefect,
    keepAliveMillis,
    maxHeadBytes: () => current.maxHeadBytes,
    silentMillis: () => Duration.toMillis(current.connectTimeout) || Number.POSITIVE_INFINITY
  })
  follow(server, connections, () => Duration.toMillis(current.connectTimeout))
  answerClientErrors(server)
  takeUpgrades(server)

  const failed = (cause: unknown) =>
    new CannotListen({ path: `${path}.port`, message: cannotListen(cause), taken: isTaken(cause) })
  const scope = yield* Scope.make()
  const bound = yield* NodeHttpServer.make(() => server, { ...address, disablePreemptiveShutdown: true }).pipe(
    // Synchronously as the socket opens, so that no request can come in before there is a handler to answer it.
    Effect.tap(({ serve }) => serve(Effect.interruptible(handler))),
    Effect.tap(() =>
      Effect.map(goFirst(server, fastWay, Effect.interruptible(handler)), (take) => {
        takePlain = take
      })
    ),
    Effect.provideService(Scope.Scope, scope),
    Effect.mapError(({ cause }) => failed(cause)),
    Effect.onError(() => Scope.close(scope, Exit.void))
  )
  // A connection that could not be accepted is lost, and the next one can be: it must not end the process.
  server.on("error", () => {})

  const opened: Server = {
    port: bound.address._tag === "UnixPathAddress" ? 0 : bound.address.port,
    connections,
    adjust: ({ listener }, { limits }, renewed) => {
      Object.assign(server, settingsOf(listener, limits.maxHeaderBytes))
      if ("updateSettings" in server) server.updateSettings(http2Settings(limits.maxHeaderBytes))
      const isRenewed =
        renewed !== undefined && (renewed.cert !== current.pems?.cert || renewed.key !== current.pems.key)
      if (isRenewed && "setSecureContext" in server) server.setSecureContext(secureContext(renewed))
      current = { pems: renewed, connectTimeout: listener.connectTimeout, maxHeadBytes: limits.maxHeaderBytes }
    },
    stopListening: stopListening(server),
    listenAgain: Effect.callback<void, CannotListen>((resume) => {
      const onError = (cause: Error) => resume(Effect.fail(failed(cause)))
      server.once("error", onError)
      server.listen(address, () => {
        server.off("error", onError)
        resume(Effect.void)
      })
    }),
    drain: (grace) =>
      Effect.sync(() => connections.close()).pipe(
        Effect.andThen(
          Effect.sync(() => connections.sweep() === 0).pipe(
            Effect.repeat({ schedule: Schedule.spaced("20 millis"), until: (done) => done })
          )
        ),
        Effect.timeoutOption(grace),
        Effect.asVoid
      ),
    close: Effect.gen(function* () {
      NetServer.prototype.close.call(server)
      const answered = yield* fastWay.handAllOver
      yield* Effect.all([answered, Scope.close(scope, Exit.void)], { concurrency: 2, discard: true })
      connections.destroy()
      // Ends the server's own timers.
      server.close()
    })
  }
  return opened
})

/** Requests come to `fastWay` first, and to `handler` where that does not take them. Upgrades do not come here. */
const goFirst = Effect.fnUntraced(function* (
  server: NodeServer | Http2SecureServer,
  fastWay: FastWay,
  handler: RequestHandler
) {
  const scope = yield* Scope.fork(yield* Effect.scope, "parallel")
  const handOver = yield* NodeHttpServer.makeHandler(handler, { scope })
  const onRequest: HandOver = (message, response) => {
    const { url = "" } = message
    const arriving = { message, response, source: new FromNode(message, response), url, body: undefined }
    if (!fastWay.take(arriving, handOver)) handOver(message, response)
  }
  server.removeAllListeners("request").on("request", onRequest)
  yield* Effect.addFinalizer(() => Effect.sync(() => server.off("request", onRequest)))
  const takePlain: PlainOptions["take"] = (request) => fastWay.take(arrivingOf(request), handOver)
  return takePlain
})

const takesNothing: PlainOptions["take"] = () => false

const arrivingOf = (message: PlainRequest): Arriving => {
  const { body, response, url } = message
  return { message, response, source: message, url, body }
}

const makeServer = (
  listener: Listener,
  maxHeaderSize: number,
  pems: Pems | undefined
): NodeServer | Http2SecureServer => {
  const settings = settingsOf(listener, maxHeaderSize)
  const { headersTimeout: handshakeTimeout } = settings
  const server =
    pems === undefined
      ? createServer({ ...settings, noDelay: true })
      : createSecureServer({
          ...secureContext(pems),
          allowHTTP1: true,
          noDelay: true,
          handshakeTimeout,
          maxHeaderListPairs,
          settings: http2Settings(maxHeaderSize)
        })
  // Said again: some are no options, and a server that speaks HTTP/2 too ignores them there.
  return Object.assign(server, settings)
}

const settingsOf = ({ connectTimeout, maxConnections }: Listener, maxHeaderSize: number) => ({
  headersTimeout: Duration.toMillis(connectTimeout),
  requestTimeout: maxRequestMillis,
  keepAliveTimeout: keepAliveMillis,
  connectionsCheckingInterval: 1000,
  maxConnections,
  maxHeaderSize,
  // Their bytes are bounded; what is over a bound on their number would be left out in silence.
  maxHeadersCount: 0,
  // Ours to say, in the form of all other errors.
  requireHostHeader: false
})

const follow = (server: NodeServer | Http2SecureServer, connections: Connections, headTime: () => number): void => {
  server.on("connection", (socket) => connections.accepted(socket))
  server.on("drop", () => connections.refused())
  if (!("setSecureContext" in server)) {
    server.on("connection", (socket) => connections.opened(socket))
    return
  }
  // Told right before the session that is made of it.
  let socket: Socket | undefined
  server.prependListener("secureConnection", (secured) => {
    socket = secured
  })
  server.on("session", (session) => {
    connections.opened(session, socket)
    // As HTTP/1 has it by itself: so long for the first request, and so long between two.
    session.setTimeout(headTime())
    session.once("stream", () => session.setTimeout(keepAliveMillis))
    session.on("timeout", () => connections.rested(session))
  })
  server.on("secureConnection", (socket) => {
    if (socket.alpnProtocol !== "h2") connections.opened(socket)
  })
}
