/** WebSockets on the client's side: the connection is taken over from Node, switched, and closed in the end. */
import type { EventEmitter } from "node:events"
import { type IncomingMessage, type OutgoingHttpHeaders, ServerResponse } from "node:http"
import type { Duplex } from "node:stream"
import { Effect } from "effect"
import { HttpServerResponse } from "effect/http"
import type { MonotonicClock } from "../../domain/MonotonicClock.ts"
import type { ProxyResponse, Tunnel } from "../../proxy/Proxy.ts"
import type { Timed, Timers } from "../../resilience/Timers.ts"
import type { Incoming } from "../Incoming.ts"
import { mayUpgrade } from "./WebSocketHead.ts"

/** Makes a server hand over the connections of WebSocket requests; to be called before it listens. */
export const takeUpgrades = (server: EventEmitter): void => {
  if ("shouldUpgradeCallback" in server) {
    server.shouldUpgradeCallback = mayUpgrade
    server.on("upgrade", (_request: IncomingMessage, socket: Duplex, head: Buffer) => {
      // What came right behind the request is the first of what goes through the tunnel, should there be one.
      if (head.length > 0) socket.unshift(head)
    })
    return
  }
  // This Node does not ask: it would hand over every protocol that is offered, so that none may be listened for.
  server.on("newListener", (event: string, listener: () => void) => {
    if (event === "upgrade") queueMicrotask(() => server.off("upgrade", listener))
  })
}

/** Node does not look at a connection that it has handed over: a client that hangs up is noticed here. */
export const watchLeaving = (socket: Duplex): (() => void) => {
  const look = () => {
    // Reads nothing, and lets the end be told where nothing came before it.
    socket.read(0)
  }
  const leave = () => {
    socket.destroy()
  }
  socket.on("readable", look)
  socket.on("end", leave)
  return () => {
    socket.off("readable", look)
    socket.off("end", leave)
  }
}

/** Says 101, and lets the tunnel have the connection. Interrupted when the client breaks it off. */
export const switchProtocols = (
  { message, response }: Pick<Incoming, "message" | "response">,
  { cookies, headers, status }: ProxyResponse,
  tunnel: Tunnel
): Effect.Effect<HttpServerResponse.HttpServerResponse> =>
  Effect.suspend(() => {
    const { socket } = message
    if (!(response instanceof ServerResponse) || response.destroyed) return done
    const head: OutgoingHttpHeaders = { ...headers, connection: "Upgrade", upgrade: "websocket" }
    if (cookies.length > 0) head["set-cookie"] = [...cookies]
    response.writeHead(status, head)
    response.flushHeaders()
    response.detachSocket(socket)
    // Effect's server adds nothing to a response that is destroyed; an end of it would end the connection.
    response.destroy()
    return Effect.as(tunnel(socket), switched)
  })

const switched = HttpServerResponse.empty()

const done = Effect.succeed(switched)

/** Milliseconds that a client is given to close its side after ours. */
const closeMillis = 2000

export interface HangUpServices {
  readonly clock: MonotonicClock["Service"]
  readonly timers: Timers["Service"]
}

/** The request is over, and the connection with it: nothing else closes it. */
export const hangUp = (socket: Duplex, { clock, timers }: HangUpServices): void => {
  if (socket.destroyed) return
  const timed: Timed = { dueAt: Number.POSITIVE_INFINITY, expire: () => socket.destroy() }
  const startClock = () => {
    timed.dueAt = clock.now() + closeMillis
  }
  timers.add(timed)
  if (socket.writableFinished) startClock()
  else socket.once("finish", startClock)
  socket.once("close", () => timers.remove(timed))
  // What still comes is not wanted; unread, it would keep the end from being seen.
  socket.resume()
}
