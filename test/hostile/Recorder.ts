/** A backend that understands nothing: it writes down every byte and answers each connection's request by a script. */
import * as net from "node:net"
import { Effect } from "effect"

export interface Recorder {
  readonly url: string
  /** What came on each connection that was no probe; Latin-1. */
  readonly heard: () => ReadonlyArray<string>
  /** Connections that are open and no probes. */
  readonly open: () => number
  readonly forget: () => void
}

const answerOf = (body: string): string =>
  `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: ${body.length}\r\n\r\n${body}`

const models = answerOf('{"object":"list","data":[{"id":"m","object":"model"}]}')

export const completion = answerOf(
  '{"id":"c","choices":[{"finish_reason":"stop","message":{"role":"assistant","content":"ok"}}]}'
)

/** What the gateway asks by itself. */
const isProbe = (heard: string): boolean => /^GET \/(v1\/models|health|metrics) HTTP\/1\.1\r\n/.test(heard)

/** Whether a request with this head has come to its end. */
const isWhole = (heard: string): boolean => {
  const end = heard.indexOf("\r\n\r\n")
  if (end < 0) return false
  const length = /\r\ncontent-length: (\d+)\r\n/i.exec(heard.slice(0, end + 2))?.[1]
  if (length !== undefined) return heard.length >= end + 4 + Number(length)
  return !/\r\ntransfer-encoding: chunked\r\n/i.test(heard.slice(0, end + 2)) || heard.endsWith("0\r\n\r\n")
}

/** `answer` writes to the backend's side of a connection as soon as a whole request has come on it. */
export const record = (
  answer: (socket: net.Socket, heard: string) => void = (socket) => socket.end(completion, "latin1")
) =>
  Effect.acquireRelease(
    Effect.callback<{ recorder: Recorder; server: net.Server; sockets: Set<net.Socket> }>((resume) => {
      const heard = new Map<net.Socket, string>()
      const sockets = new Set<net.Socket>()
      const server = net.createServer((socket) => {
        sockets.add(socket)
        socket.on("error", () => {})
        socket.on("close", () => sockets.delete(socket))
        socket.on("data", (chunk) => {
          const before = heard.get(socket) ?? ""
          const now = before + chunk.toString("latin1")
          heard.set(socket, now)
          if (isWhole(before) || !isWhole(now)) return
          if (!isProbe(now)) return answer(socket, now)
          heard.delete(socket)
          socket.end(models, "latin1")
        })
      })
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        const port = typeof address === "object" && address !== null ? address.port : 0
        const recorder: Recorder = {
          url: `http://127.0.0.1:${port}`,
          heard: () => [...heard.values()].filter((bytes) => !isProbe(bytes)),
          open: () => [...sockets].filter((socket) => heard.has(socket)).length,
          forget: () => heard.clear()
        }
        resume(Effect.succeed({ recorder, server, sockets }))
      })
    }),
    ({ server, sockets }) =>
      Effect.callback<void>((resume) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resume(Effect.void))
      })
  ).pipe(Effect.map(({ recorder }) => recorder))
