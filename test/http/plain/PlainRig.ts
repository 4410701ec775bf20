/** A server whose plainest requests are not Node's, with a script for what it answers; and the same without that. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import * as net from "node:net"
import { Effect } from "effect"
import { MonotonicClock } from "../../../src/domain/MonotonicClock.ts"
import type { OutgoingResponse } from "../../../src/http/Incoming.ts"
import { type PlainOptions, type PlainRequest, servePlainly } from "../../../src/http/plain/PlainServer.ts"
import { answerClientErrors } from "../../../src/http/server/ClientErrors.ts"
import { Timers } from "../../../src/resilience/Timers.ts"

export interface Asked {
  readonly url: string
  readonly body: string
  readonly response: OutgoingResponse
  /** `undefined` for what Node has read. */
  readonly plain: PlainRequest | undefined
}

export interface PlainRigOptions
  extends Partial<Pick<PlainOptions, "keepAliveMillis" | "maxHeadBytes" | "silentMillis">> {
  /** Answers what both readers have read. */
  readonly answer?: (asked: Asked) => void
  /** In place of that for what the plain reader has read. */
  readonly take?: PlainOptions["take"]
  /** Everything is Node's. */
  readonly nodeOnly?: boolean
}

/** Says what was asked. */
export const echo = ({ body, response, url }: Asked): void => {
  const text = `${url} ${body}`
  response.writeHead(200, { "content-type": "text/plain", "content-length": String(text.length) })
  response.end(text, "latin1")
}

export const setUpPlain = Effect.fnUntraced(function* ({
  answer = echo,
  keepAliveMillis = 75_000,
  maxHeadBytes = () => 16_384,
  nodeOnly = false,
  silentMillis = () => 60_000,
  take
}: PlainRigOptions = {}) {
  const { now } = yield* MonotonicClock
  const timers = yield* Timers
  /** The targets of what the plain reader has read. */
  const taken: Array<string> = []
  const defects: Array<unknown> = []
  const sockets = new Set<net.Socket>()
  const server = createServer({ maxHeaderSize: maxHeadBytes(), keepAliveTimeout: keepAliveMillis, noDelay: true })
  server.headersTimeout = 60_000
  server.on("request", (message: IncomingMessage, response: ServerResponse) => {
    const pieces: Array<Buffer> = []
    message.on("data", (piece: Buffer) => pieces.push(piece))
    message.on("end", () => {
      const body = Buffer.concat(pieces).toString("latin1")
      answer({ url: message.url ?? "", body, response, plain: undefined })
    })
  })
  const answerPlain = (request: PlainRequest): boolean => {
    const { body, response, url } = request
    answer({ url, body: body.toString("latin1"), response, plain: request })
    return true
  }
  if (!nodeOnly) {
    servePlainly(server, {
      take: (request) => {
        taken.push(request.url)
        return (take ?? answerPlain)(request)
      },
      keepAliveMillis,
      maxHeadBytes,
      silentMillis,
      timers,
      now,
      onDefect: (defect) => defects.push(defect)
    })
  }
  answerClientErrors(server)
  server.on("connection", (socket) => {
    sockets.add(socket)
    socket.on("close", () => sockets.delete(socket))
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.void))
    }),
    () =>
      Effect.callback<void>((resume) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resume(Effect.void))
      })
  )
  const address = server.address()
  const port = typeof address === "object" && address !== null ? address.port : 0
  return { port, url: `http://127.0.0.1:${port}`, taken, defects, server, sockets }
})

/** A pause between two pieces, so that they come as two. */
export const pause = (millis = 2): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))

/** Sends pieces one by one on a connection of its own; all that came back until its end. `fin`: half-closed behind them. */
export const talk = async (port: number, pieces: ReadonlyArray<string>, fin = false): Promise<string> => {
  const socket = net.connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true })
  let received = ""
  socket.on("data", (chunk) => {
    received += chunk.toString("latin1")
  })
  socket.on("error", () => {})
  const closed = new Promise<void>((resolve) => {
    socket.on("end", () => socket.end())
    socket.on("close", () => resolve())
  })
  for (const piece of pieces) {
    socket.write(piece, "latin1")
    await pause()
  }
  if (fin) socket.end()
  await closed
  return received
}

/** Without what differs from one moment to the next. */
export const timeless = (received: string): string =>
  received.replaceAll(/\r\nDate: [^\r]*/gi, "").replaceAll(/\r\nx-request-id: [^\r]*/gi, "")
