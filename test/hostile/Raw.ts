/** A client that says exactly what it is told, byte for byte, and sees every byte that comes back. */
import * as net from "node:net"
import { Effect, type Scope } from "effect"
import { eventually } from "../e2e/Program.ts"

export interface Line {
  /** Latin-1: a character is a byte. */
  readonly received: () => string
  readonly closed: () => boolean
  readonly write: (bytes: string | Uint8Array) => void
  /** Sends a FIN and goes on reading. */
  readonly halfClose: () => void
  /** Sends a RST. */
  readonly reset: () => void
  /** Nothing is read from here on, until the end or `goOnReading`. */
  readonly stopReading: () => void
  readonly goOnReading: () => void
  /** The status codes of the answers that have come, in their order. */
  readonly statuses: () => ReadonlyArray<number>
  /** Until `enough` says so. */
  readonly until: (enough: () => boolean) => Effect.Effect<void>
}

/** One connection; it is cut when the scope closes. */
export const connect = (url: string): Effect.Effect<Line, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<net.Socket>((resume) => {
      const socket = net.connect({ port: Number(new URL(url).port), host: "127.0.0.1", allowHalfOpen: true })
      socket.once("connect", () => resume(Effect.succeed(socket)))
      socket.once("error", (cause) => resume(Effect.die(cause)))
    }),
    (socket) => Effect.sync(() => socket.destroy())
  ).pipe(Effect.map(lineOf))

const lineOf = (socket: net.Socket): Line => {
  const pieces: Array<string> = []
  let over = false
  const received = () => pieces.join("")
  socket.on("data", (chunk) => pieces.push(chunk.toString("latin1")))
  socket.on("end", () => {
    over = true
    socket.end()
  })
  socket.on("error", () => {
    over = true
  })
  socket.on("close", () => {
    over = true
  })
  return {
    received,
    closed: () => over,
    write: (bytes) => socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes),
    halfClose: () => socket.end(),
    reset: () => socket.resetAndDestroy(),
    stopReading: () => socket.pause(),
    goOnReading: () => socket.resume(),
    statuses: () => [...received().matchAll(/HTTP\/1\.[01] (\d{3}) /g)].map(([, status]) => Number(status)),
    until: (enough) =>
      Effect.asVoid(
        eventually(
          Effect.sync(() => (enough() ? true : undefined)),
          () => `so far: ${JSON.stringify(received().slice(0, 2000))}, ${over ? "closed" : "open"}`
        )
      )
  }
}

/** Sends this on a connection of its own; what came back until the gateway closed it. */
export const exchange = (url: string, bytes: string): Effect.Effect<Line> =>
  Effect.scoped(
    Effect.gen(function* () {
      const line = yield* connect(url)
      line.write(bytes)
      yield* line.until(line.closed)
      return line
    })
  )

/** A request head with `Host`, without the empty line behind it. */
export const head = (method: string, target: string, ...lines: ReadonlyArray<string>): string =>
  [`${method} ${target} HTTP/1.1`, "host: localhost", ...lines, ""].join("\r\n")

/** A whole request. */
export const request = (method: string, target: string, lines: ReadonlyArray<string> = [], body = ""): string =>
  `${head(method, target, ...lines)}\r\n${body}`
