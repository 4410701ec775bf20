/** What is fuzzed: the built gateway in front of a strict backend that can always answer. */
import * as http from "node:http"
import * as net from "node:net"
import { Effect } from "effect"
import { ask } from "../e2e/Ask.ts"
import { eventually, serve } from "../e2e/Program.ts"

export interface Engine {
  readonly url: string
  /** What came that is not HTTP: the gateway must not send such a thing. */
  readonly complaints: ReadonlyArray<string>
  readonly requests: () => number
}

/** Answers everything with 200 as soon as the request is whole, and complains about what it cannot read. */
const engine = Effect.acquireRelease(
  Effect.callback<{ engine: Engine; server: http.Server }>((resume) => {
    const complaints: Array<string> = []
    let requests = 0
    const completion = JSON.stringify({ id: "c", choices: [{ finish_reason: "stop", message: { content: "ok" } }] })
    const models = JSON.stringify({ object: "list", data: [{ id: "m", object: "model" }] })
    const server = http.createServer({ maxHeaderSize: 256 * 1024, keepAliveTimeout: 60_000 }, (request, response) => {
      requests++
      request.resume()
      request.on("end", () => {
        response.setHeader("content-type", "application/json")
        response.end(request.method === "GET" && request.url === "/v1/models" ? models : completion)
      })
    })
    server.on("clientError", (error: Error & { code?: string; rawPacket?: Buffer }, socket) => {
      if (error.code !== "ECONNRESET" && error.code !== "HPE_INVALID_EOF_STATE") {
        complaints.push(`${error.code}: ${JSON.stringify(error.rawPacket?.toString("latin1").slice(0, 500))}`)
      }
      socket.destroy()
    })
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      const port = typeof address === "object" && address !== null ? address.port : 0
      resume(
        Effect.succeed({ engine: { url: `http://127.0.0.1:${port}`, complaints, requests: () => requests }, server })
      )
    })
  }),
  ({ server }) =>
    Effect.callback<void>((resume) => {
      server.closeAllConnections()
      server.close(() => resume(Effect.void))
    })
).pipe(Effect.map(({ engine }) => engine))

export const target = Effect.gen(function* () {
  const backend = yield* engine
  const gateway = yield* serve(
    {
      listeners: [{ port: 0, connectTimeout: "2s" }],
      backends: [{ name: "engine", url: backend.url }],
      // One line for each input would be most of the work.
      telemetry: { logs: { level: "error" } }
    },
    { env: { WEIR_LOG_LEVEL: "info" } }
  )
  yield* eventually(
    Effect.map(ask(`${gateway.url}/readyz`), ({ status }) => (status === 200 ? true : undefined)),
    () => "a ready gateway"
  )
  return { engine: backend, gateway, port: Number(new URL(gateway.url).port) }
})

/** Milliseconds that an answer may take before the input is given up; most inputs are never whole. */
const patience = 60

/** Sends an input on a connection of its own, in pieces; everything that comes back until it is closed or given up. */
export const send = (port: number, pieces: ReadonlyArray<string>): Promise<string> =>
  new Promise((resolve) => {
    let received = ""
    const socket = net.connect(port, "127.0.0.1", () => {
      for (const piece of pieces) socket.write(piece, "latin1")
    })
    const timer = setTimeout(() => socket.destroy(), patience)
    socket.on("data", (chunk) => {
      received += chunk.toString("latin1")
      timer.refresh()
    })
    socket.on("error", () => {})
    socket.on("close", () => {
      clearTimeout(timer)
      resolve(received)
    })
  })
