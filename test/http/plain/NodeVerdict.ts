/** What Node's own server makes of bytes: the first request, or nothing. */
import { createServer, type IncomingMessage } from "node:http"
import { Duplex } from "node:stream"

export interface Verdict {
  readonly method: string
  readonly url: string
  readonly rawHeaders: ReadonlyArray<string>
  readonly headers: IncomingMessage["headers"]
  readonly body: string
}

/** A connection that brings these bytes and then its end. */
class Line extends Duplex {
  constructor(bytes: Buffer) {
    super()
    this.push(bytes)
    this.push(null)
    this.on("error", () => {})
  }

  override _read(): void {}

  override _write(_chunk: unknown, _encoding: string, done: () => void): void {
    done()
  }
}

const server = createServer({ requireHostHeader: false, maxHeaderSize: 16_384 })

/** `undefined`: it is refused, or no whole request. */
export const verdictOf = (bytes: Buffer): Promise<Verdict | undefined> =>
  new Promise((resolve) => {
    const line = new Line(bytes)
    const done = (verdict: Verdict | undefined) => {
      server.removeAllListeners("request")
      server.removeAllListeners("clientError")
      line.destroy()
      resolve(verdict)
    }
    server.on("clientError", () => done(undefined))
    server.on("request", (message) => {
      const pieces: Array<Buffer> = []
      const { headers, method = "", rawHeaders, url = "" } = message
      message.on("data", (piece: Buffer) => pieces.push(piece))
      message.on("end", () =>
        done({ method, url, rawHeaders, headers, body: Buffer.concat(pieces).toString("latin1") })
      )
      message.on("error", () => done(undefined))
    })
    line.on("close", () => done(undefined))
    server.emit("connection", line)
  })
