/** How a server stops to listen without losing what has come in. */
import type { Server as NodeServer } from "node:http"
import type { Http2SecureServer } from "node:http2"
import { Server as NetServer } from "node:net"
import { Effect } from "effect"

/** Milliseconds; in a turn of the event loop that is shorter hardly anything can have come in. */
const shortTurnMillis = 0.1

/** Milliseconds after which a turn of twice that length will do, and so on. */
const turnGrowthMillis = 100

/**
 * Connections that the system has made for us and that we have not taken yet are reset with the socket, and with them
 * the requests that may already be in them. So all of them are taken first, one in each turn of the event loop; and the
 * socket is closed right after a turn that found none, and that was short: what comes in between is what can be lost.
 */
export const stopListening = (server: NodeServer | Http2SecureServer): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const began = performance.now()
    let last = began
    let took = true
    const onConnection = () => {
      took = true
    }
    server.on("connection", onConnection)
    const turn = () => {
      const now = performance.now()
      if (took || now - last > shortTurnMillis * (1 + (now - began) / turnGrowthMillis)) {
        last = now
        took = false
        setImmediate(turn)
        return
      }
      // Not the server's own `close`, which also cuts what is idle.
      NetServer.prototype.close.call(server)
      server.off("connection", onConnection)
      resume(Effect.void)
    }
    setImmediate(turn)
  })
