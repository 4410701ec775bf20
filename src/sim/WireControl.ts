/** The listening socket and all connections that came through it: what can be shut, opened again and torn down. */
import { createServer, type Server } from "node:http"
import { createServer as createTlsServer } from "node:https"
import type { Socket } from "node:net"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { type Duration, Effect, Fiber, Schedule, type Scope } from "effect"
import { type HttpServer, HttpServerError } from "effect/http"
import { NetAddress } from "effect/net"
import type { Settings } from "./Options.ts"

export interface WireControl {
  readonly httpServer: HttpServer.HttpServer["Service"]
  readonly port: number
  /** Destroys every open connection. */
  readonly destroyAll: () => void
  /** Stops listening and destroys all connections; after the time it listens on the same port again. Returns at once. */
  readonly refuse: (time: Duration.Duration) => Effect.Effect<void>
  /** Ends a refusal early. */
  readonly reopen: Effect.Effect<void>
  /** Closes for good. */
  readonly close: Effect.Effect<void>
}

/** Listens at once; a port that is in use, or a certificate that is none, fails with `ServeError`. */
export const makeWireControl = Effect.fnUntraced(function* (
  settings: Settings
): Effect.fn.Return<WireControl, HttpServerError.ServeError, Scope.Scope> {
  const scope = yield* Effect.scope
  const server = yield* Effect.try({
    try: () => newServer(settings),
    catch: (cause) => new HttpServerError.ServeError({ cause })
  })
  const sockets = trackSockets(server)
  const { host } = settings
  const httpServer = yield* NodeHttpServer.make(() => server, { host, port: settings.port })
  if (!NetAddress.isInetAddress(httpServer.address)) {
    return yield* new HttpServerError.ServeError({ cause: new Error("expected to listen on a TCP port") })
  }
  const { port } = httpServer.address
  let closed = false
  let absence: Fiber.Fiber<unknown> | undefined

  const destroyAll = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  const shut = (): void => {
    if (server.listening) server.close()
    destroyAll()
  }
  const open = Effect.suspend(() => (closed || server.listening ? Effect.void : listen(server, host, port))).pipe(
    // Another process may have taken the port meanwhile.
    Effect.retry(Schedule.spaced("20 millis")),
    Effect.orDie
  )
  const endAbsence = Effect.suspend(() => (absence === undefined ? Effect.void : Fiber.interrupt(absence)))

  return {
    httpServer,
    port,
    destroyAll,
    refuse: Effect.fnUntraced(function* (time) {
      yield* endAbsence
      shut()
      absence = yield* Effect.sleep(time).pipe(Effect.andThen(open), Effect.forkIn(scope))
    }),
    reopen: Effect.andThen(endAbsence, open),
    close: Effect.sync(() => {
      closed = true
      shut()
    })
  }
})

/** Never times a request out by itself, and keeps idle connections for longer than its clients do. */
const serverOptions = {
  keepAliveTimeout: 65_000,
  headersTimeout: 0,
  requestTimeout: 0,
  maxHeaderSize: 65_536,
  noDelay: true
}

const newServer = (settings: Settings): Server =>
  settings.tls === undefined ? createServer(serverOptions) : createTlsServer({ ...serverOptions, ...settings.tls })

const trackSockets = (server: Server): ReadonlySet<Socket> => {
  const sockets = new Set<Socket>()
  server.on("connection", (socket: Socket) => {
    sockets.add(socket)
    socket.once("close", () => sockets.delete(socket))
  })
  return sockets
}

const listen = (server: Server, host: string, port: number): Effect.Effect<void, Error> =>
  Effect.callback((resume) => {
    const onError = (error: Error): void => resume(Effect.fail(error))
    server.once("error", onError)
    server.listen({ host, port }, () => {
      server.off("error", onError)
      resume(Effect.void)
    })
  })
