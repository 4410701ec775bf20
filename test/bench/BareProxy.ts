/**
 * The practical floor: what forwarding costs in Node without a gateway around it. Node's HTTP server reads a body into
 * memory, undici's `dispatch` sends it on, and head and chunks are relayed with back-pressure; when the client goes,
 * the request upstream is cancelled. Nothing is parsed, chosen, counted, timed or logged.
 *
 * `node BareProxy.ts UPSTREAM_PORT`
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { type Dispatcher, Pool } from "undici"

const hopByHop = new Set(["connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "host"])

const upwardHeaders = (raw: ReadonlyArray<string>): Array<string> => {
  const headers: Array<string> = []
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at] ?? ""
    if (!hopByHop.has(name.toLowerCase())) headers.push(name, raw[at + 1] ?? "")
  }
  return headers
}

const downwardHeaders = (headers: Record<string, string | Array<string> | undefined>) => {
  for (const name of hopByHop) delete headers[name]
  return headers
}

const gone = new Error("the client has gone")

const relayTo = (res: ServerResponse): Dispatcher.DispatchHandler => {
  let controller: Dispatcher.DispatchController | undefined
  res.on("drain", () => controller?.resume())
  res.on("close", () => {
    if (!res.writableFinished) controller?.abort(gone)
  })
  return {
    onRequestStart: (started) => {
      controller = started
      if (res.destroyed) started.abort(gone)
    },
    onResponseStart: (_, status, headers) => {
      res.writeHead(status, downwardHeaders(headers))
    },
    onResponseData: (reading, bytes) => {
      if (!res.write(bytes)) reading.pause()
    },
    onResponseEnd: () => {
      res.end()
    },
    onResponseError: () => {
      if (res.headersSent) res.destroy()
      else res.writeHead(502).end()
    }
  }
}

const origin = `http://127.0.0.1:${process.argv[2]}`
const upstream = new Pool(origin, { pipelining: 1, keepAliveTimeout: 30_000, headersTimeout: 0, bodyTimeout: 0 })

const forward = (req: IncomingMessage, res: ServerResponse, body: Buffer | null): void => {
  const { method = "GET", rawHeaders, url: path = "/" } = req
  upstream.dispatch({ origin, path, method, headers: upwardHeaders(rawHeaders), body }, relayTo(res))
}

const server = createServer({ noDelay: true, requestTimeout: 0 }, (req, res) => {
  const pieces: Array<Buffer> = []
  req.on("data", (piece: Buffer) => pieces.push(piece))
  req.on("end", () => {
    const [first = null] = pieces
    forward(req, res, pieces.length > 1 ? Buffer.concat(pieces) : first)
  })
})

server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => {
  const address = server.address()
  process.send?.({ port: typeof address === "object" ? address?.port : undefined })
})
process.on("disconnect", () => process.exit(0))
