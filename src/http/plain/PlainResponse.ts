/**
 * Puts the answer to a plain request on the wire, in the bytes that Node's writer would use: head and body, or head and
 * first piece, in one write. Where an answer needs more than that, Node's own writer takes the request over.
 */
import { type OutgoingHttpHeaders, STATUS_CODES } from "node:http"
import type { Socket } from "node:net"
import type { OutgoingResponse } from "../Incoming.ts"

/** Up to here a piece is written as text with what frames it; a longer one is not copied. */
const maxTextBytes = 16_384

/** RFC 9110, 5.5: what would end a header's value, or is no byte. */
const forbiddenInValue = /[^\t\x20-\x7e\x80-\xff]/

/** Of these there is no body, whatever the headers say. */
const bodiless = new Set([204, 304])

/** The date of answers, made once a second. Mutable by nature. */
export class DateLine {
  #line = ""
  #since = 0

  /** `now`: of the wall clock, in milliseconds. It may be set back. */
  at(now: number): string {
    if (now >= this.#since + 1000 || now < this.#since) {
      this.#line = `Date: ${new Date(now).toUTCString()}\r\n`
      this.#since = now - (now % 1000)
    }
    return this.#line
  }
}

type ResponseEvent = "close" | "drain" | "finish"

interface Listener {
  readonly event: ResponseEvent
  readonly listener: () => void
}

const noListeners: ReadonlyArray<Listener> = []

export interface PlainResponseParts {
  readonly socket: Socket
  readonly date: DateLine
  /** As it is told to clients. */
  readonly keepAliveSeconds: number
  readonly onEnd: (keepsAlive: boolean) => void
}

/** Mutable by nature: written by what answers, and by its socket. */
export class PlainResponse implements OutgoingResponse {
  readonly #parts: PlainResponseParts
  statusCode = 200
  headersSent = false
  writableEnded = false
  destroyed = false
  shouldKeepAlive = true
  /** The head, until it goes out with what follows it. */
  #head = ""
  #isChunked = false
  #hasBody = true
  #listeners: ReadonlyArray<Listener> = noListeners

  constructor(parts: PlainResponseParts) {
    this.#parts = parts
  }

  get writableLength(): number {
    return this.#parts.socket.writableLength
  }

  /** Names in lower case, values that are strings or lists of them. */
  writeHead(status: number, headers: OutgoingHttpHeaders): void {
    const { date, keepAliveSeconds } = this.#parts
    this.statusCode = status
    this.headersSent = true
    this.#hasBody = !bodiless.has(status)
    let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "unknown"}\r\n`
    for (const name in headers) {
      const value = headers[name]
      if (value === undefined) continue
      for (const each of Array.isArray(value) ? value : [String(value)]) head += lineOf(name, each)
    }
    if (headers["date"] === undefined) head += date.at(Date.now())
    if (headers["connection"] === undefined) {
      head += this.shouldKeepAlive
        ? `Connection: keep-alive\r\nKeep-Alive: timeout=${keepAliveSeconds}\r\n`
        : "Connection: close\r\n"
    } else if (String(headers["connection"]).toLowerCase() === "close") this.shouldKeepAlive = false
    this.#isChunked = this.#hasBody && headers["content-length"] === undefined
    this.#head = `${head}${this.#isChunked ? "Transfer-Encoding: chunked\r\n" : ""}\r\n`
  }

  write(piece: Uint8Array): boolean {
    if (this.destroyed || !this.#hasBody || piece.length === 0) return true
    const head = this.#takeHead()
    const { socket } = this.#parts
    const opening = this.#isChunked ? `${head}${piece.length.toString(16)}\r\n` : head
    const closing = this.#isChunked ? "\r\n" : ""
    if (piece.length <= maxTextBytes) return socket.write(`${opening}${latin1(piece)}${closing}`, "latin1")
    socket.cork()
    socket.write(opening, "latin1")
    const isReady = socket.write(piece)
    const isReadyBehind = closing === "" ? isReady : socket.write(closing, "latin1")
    socket.uncork()
    return isReady && isReadyBehind
  }

  /** As with Node's writer: text is UTF-8 where nothing else is said. */
  end(rest?: string | Uint8Array, encoding?: "latin1"): void {
    if (this.writableEnded || this.destroyed) return
    const isText = typeof rest === "string" && encoding === "latin1"
    if (rest !== undefined && !isText) this.write(typeof rest === "string" ? Buffer.from(rest) : rest)
    const text = isText && this.#hasBody ? rest : ""
    this.writableEnded = true
    const framed = this.#isChunked ? chunked(text) : text
    const last = `${this.#takeHead()}${framed}`
    const { onEnd, socket } = this.#parts
    if (last !== "" || socket.writableLength > 0) socket.write(last, "latin1", this.#onSent)
    onEnd(this.shouldKeepAlive)
  }

  /** Breaks the connection. */
  destroy(): void {
    if (this.destroyed) return
    this.#parts.socket.destroy()
  }

  once(event: ResponseEvent, listener: () => void): void {
    if (event === "drain") this.#parts.socket.once("drain", listener)
    else this.#listeners = [...this.#listeners, { event, listener }]
  }

  off(event: ResponseEvent, listener: () => void): void {
    if (event === "drain") this.#parts.socket.off("drain", listener)
    else this.#listeners = this.#listeners.filter((each) => each.event !== event || each.listener !== listener)
  }

  /** The connection is gone. */
  closed(): void {
    if (this.destroyed) return
    this.destroyed = true
    this.#tell("close")
  }

  readonly #onSent = (): void => this.#tell("finish")

  #tell(event: ResponseEvent): void {
    const told = this.#listeners.filter((each) => each.event === event)
    if (told.length === 0) return
    this.#listeners = this.#listeners.filter((each) => each.event !== event)
    for (const { listener } of told) listener()
  }

  #takeHead(): string {
    const head = this.#head
    this.#head = ""
    return head
  }
}

const lineOf = (name: string, value: string): string => {
  // Not reached by what a backend says: its own head was read by these rules.
  if (forbiddenInValue.test(value)) throw new TypeError(`invalid character in the header ${name}`)
  return `${name}: ${value}\r\n`
}

const latin1 = (piece: Uint8Array): string =>
  Buffer.from(piece.buffer, piece.byteOffset, piece.length).toString("latin1")

const chunked = (text: string): string =>
  text === "" ? "0\r\n\r\n" : `${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`
