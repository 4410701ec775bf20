/** An engine that answers with what it was given last, in the framing that is wanted, in pieces of odd sizes. */
import { createServer, type ServerResponse } from "node:http"
import { Readable } from "node:stream"
import { Effect } from "effect"
import { listen } from "../../transport/Origin.ts"

export type Framing = "length" | "chunked" | "until close"

export interface Play {
  readonly framing: Framing
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
  /** The connection breaks after so many bytes of it. */
  readonly cutAt?: number | undefined
}

export interface Engine {
  readonly url: string
  /** How it answers what is no question for its models. */
  play: Play
  /** How often it was asked. */
  asked: number
  /** Bytes of bodies that it got rid of. */
  sent: number
}

const models = '{"object":"list","data":[{"id":"m","object":"model"}]}'

/** None is a multiple of another or of what sockets read at once. */
const sizes = [1, 65_536, 17, 100_003, 3, 300_007, 9000]

function* cut(body: Buffer): Generator<Buffer> {
  let at = 0
  for (let n = 0; at < body.length; n++) {
    const size = sizes[n % sizes.length] ?? body.length
    yield body.subarray(at, at + size)
    at += size
  }
}

const answer = (engine: Engine, response: ServerResponse, { body, cutAt, framing, headers }: Play) => {
  // Without a length and without chunks only the end of the connection is left to tell the end.
  if (framing === "until close") response.useChunkedEncodingByDefault = false
  response.writeHead(200, framing === "length" ? { ...headers, "content-length": String(body.length) } : headers)
  const pieces = Readable.from(cut(body.subarray(0, cutAt)))
  pieces.on("data", (piece: Buffer) => {
    engine.sent += piece.length
  })
  pieces.pipe(response, { end: cutAt === undefined })
  if (cutAt !== undefined) pieces.on("end", () => response.socket?.end())
}

export const startEngine = Effect.gen(function* () {
  const server = createServer({ noDelay: true }, (request, response) => {
    response.on("error", () => {})
    if (request.url === "/v1/models") return response.setHeader("content-type", "application/json").end(models)
    engine.asked++
    return request.resume().on("end", () => answer(engine, response, engine.play))
  })
  const port = yield* listen(server, () => server.closeAllConnections())
  const engine: Engine = {
    url: `http://127.0.0.1:${port}`,
    play: { framing: "length", headers: {}, body: Buffer.alloc(0) },
    asked: 0,
    sent: 0
  }
  return engine
})
