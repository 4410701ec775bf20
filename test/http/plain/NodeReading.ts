/** How Node's own parser reads bytes, to hold the plain reader against it. */
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http"
import { Duplex } from "node:stream"
import { readPlainHead } from "../../../src/http/plain/PlainHead.ts"

export const maxHeadBytes = 16 * 1024

/** Longer bodies are given to Node by the plain reader, so that only their head matters. */
const maxBodyBytes = 64 * 1024

interface Reading {
  readonly method: string | undefined
  readonly url: string | undefined
  readonly version: string
  readonly rawHeaders: ReadonlyArray<string>
  readonly headers: IncomingHttpHeaders
  readonly keepsAlive: boolean
  /** Bytes of its body, and whether that is all of it; told after everything was read. */
  readonly body: () => { readonly bytes: string; readonly complete: boolean }
}

interface Heard {
  /** In the order in which they came. */
  readonly readings: ReadonlyArray<Reading>
  /** Node's word for what is wrong, or what it wants to have done besides an answer. */
  readonly refused: string | undefined
}

/** A connection that is nothing but what is said on it. */
class Line extends Duplex {
  override _read(): void {}
  override _write(_chunk: unknown, _encoding: string, done: () => void): void {
    done()
  }
}

/** Node's parser as the gateway's servers set it up. What it makes of bytes is known when this returns. */
export const makeNodeReader = (): ((bytes: Buffer) => Heard) => {
  let readings: Array<Reading> = []
  let refused: string | undefined
  const server = createServer({ maxHeaderSize: maxHeadBytes, requireHostHeader: false, noDelay: true })
  server.maxHeadersCount = 0
  server.on("request", (message, response: ServerResponse) => {
    const { headers, httpVersion, method, rawHeaders, url } = message
    readings.push({
      method,
      url,
      version: httpVersion,
      rawHeaders,
      headers,
      keepsAlive: response.shouldKeepAlive,
      body: () => {
        const bytes: unknown = message.read()
        return { bytes: Buffer.isBuffer(bytes) ? bytes.toString("latin1") : "", complete: message.complete }
      }
    })
  })
  for (const event of ["checkContinue", "checkExpectation", "upgrade", "connect"]) {
    server.on(event, () => {
      refused ??= event
    })
  }
  server.on("clientError", (error: Error & { code?: string }) => {
    refused ??= error.code ?? error.message
  })
  return (bytes) => {
    readings = []
    refused = undefined
    const line = new Line()
    server.emit("connection", line)
    line.emit("data", bytes)
    const heard = { readings, refused }
    // Its end is nothing that was said.
    line.removeAllListeners("end")
    setImmediate(() => line.destroy())
    return heard
  }
}

/** What follows a request: where Node finds it the request has ended for Node too. */
const marker = "GET /marker HTTP/1.1\r\nhost: marker\r\n\r\n"

/**
 * What the plain reader understands in another way than Node; `undefined` where they agree, and `"passed on"` for what is
 * Node's to judge. `text`: a character is a byte.
 */
export const disagreement = (read: (bytes: Buffer) => Heard, text: string): string | undefined => {
  const bytes = Buffer.from(text, "latin1")
  const plain = readPlainHead(bytes, maxHeadBytes)
  if (plain === undefined) return "passed on"
  const { headers, length, rawHeaders, size, url } = plain
  // Some upper case is no byte.
  const input = bytes.toString("latin1")
  const isHeldHere = length <= maxBodyBytes
  const body = isHeldHere ? input.slice(size, size + length).padEnd(length, "~") : ""
  const whole = `${input.slice(0, size)}${body}${isHeldHere ? marker : ""}`
  const { readings, refused } = read(Buffer.from(whole, "latin1"))
  const [first, second, ...more] = readings
  if (refused !== undefined) return `Node refuses: ${refused}`
  if (first === undefined) return "Node sees no request"
  if (first.method !== "POST" || first.version !== "1.1") return `${first.method} in HTTP/${first.version}`
  if (first.url !== url) return `the target ${JSON.stringify(first.url)}`
  if (!first.keepsAlive) return "Node closes behind it"
  const told = JSON.stringify([rawHeaders, Object.entries(headers)])
  const heard = JSON.stringify([first.rawHeaders, Object.entries(first.headers)])
  if (told !== heard) return `headers: ${told} instead of ${heard}`
  if (!isHeldHere) return second === undefined ? undefined : "a request in its body"
  const got = first.body()
  if (got.bytes !== body || !got.complete) return `a body of ${got.bytes.length} bytes instead of ${length}`
  return second?.url === "/marker" && more.length === 0 ? undefined : "what follows it is not what Node sees"
}
