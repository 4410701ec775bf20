/**
 * The least HTTP/1.1 reading that the measurements need, for both directions: heads as text, bodies with a
 * content-length or in chunks. It trusts its peer, which is always one of the suite's subjects on loopback.
 */

/** How a body is delimited: by a number of bytes, or in chunks. */
export type Framing = number | "chunked"

export interface Receiver {
  /** The whole head without its last empty line; answers how the body is delimited. */
  readonly onHead: (head: string) => Framing
  /** A part of the body, valid during the call. */
  readonly onData: (bytes: Buffer, from: number, to: number) => void
  /** The message is complete; the next one may follow. */
  readonly onEnd: () => void
}

const endOfHead = Buffer.from("\r\n\r\n", "latin1")
const carriageReturn = 13
const lineFeed = 10

/** Where the reader is: in a head, in counted bytes, or in one of the parts of a chunked body. */
type Place = "head" | "counted" | "size" | "chunk" | "chunkEnd" | "trailer"

/** One for each connection and direction. */
export class MessageReader {
  readonly #receiver: Receiver
  #place: Place = "head"
  /** Bytes that are left of the body or of the chunk. */
  #left = 0
  #size = ""
  /** Characters of the trailer's line so far. */
  #line = 0
  #head: Buffer | undefined

  constructor(receiver: Receiver) {
    this.#receiver = receiver
  }

  /** Whether a message has begun and not ended. */
  get isWithin(): boolean {
    return this.#place !== "head" || this.#head !== undefined
  }

  push(bytes: Buffer): void {
    let at = 0
    while (at < bytes.length) at = this.#step(bytes, at)
  }

  /** Reads on from `at` and answers how far it came, which is always further. */
  #step(bytes: Buffer, at: number): number {
    switch (this.#place) {
      case "head":
        return this.#readHead(bytes, at)
      case "counted":
      case "chunk":
        return this.#readBody(bytes, at)
      case "size":
        return this.#readSize(bytes, at)
      case "chunkEnd":
        if (bytes[at] === lineFeed) this.#place = "size"
        return at + 1
      case "trailer":
        return this.#readTrailer(bytes, at)
    }
  }

  #readHead(bytes: Buffer, at: number): number {
    const before = this.#head
    const all = before === undefined ? bytes.subarray(at) : Buffer.concat([before, bytes.subarray(at)])
    const end = all.indexOf(endOfHead)
    if (end < 0) {
      // The buffer belongs to the reader of the socket, which fills it again.
      this.#head = before === undefined ? Buffer.from(all) : all
      return bytes.length
    }
    this.#head = undefined
    const framing = this.#receiver.onHead(all.toString("latin1", 0, end))
    this.#left = framing === "chunked" ? 0 : framing
    this.#place = framing === "chunked" ? "size" : "counted"
    if (framing === 0) this.#finish()
    return at + end + endOfHead.length - (before?.length ?? 0)
  }

  #readBody(bytes: Buffer, at: number): number {
    const to = Math.min(bytes.length, at + this.#left)
    this.#receiver.onData(bytes, at, to)
    this.#left -= to - at
    if (this.#left === 0) {
      if (this.#place === "counted") this.#finish()
      else this.#place = "chunkEnd"
    }
    return to
  }

  #readSize(bytes: Buffer, at: number): number {
    const end = bytes.indexOf(lineFeed, at)
    this.#size += bytes.toString("latin1", at, end < 0 ? bytes.length : end)
    if (end < 0) return bytes.length
    this.#left = Number.parseInt(this.#size, 16)
    this.#size = ""
    this.#line = 0
    this.#place = this.#left === 0 ? "trailer" : "chunk"
    return end + 1
  }

  #readTrailer(bytes: Buffer, at: number): number {
    const byte = bytes[at]
    if (byte === lineFeed) {
      if (this.#line === 0) this.#finish()
      this.#line = 0
    } else if (byte !== carriageReturn) this.#line++
    return at + 1
  }

  #finish(): void {
    this.#place = "head"
    this.#receiver.onEnd()
  }
}

const lengthPattern = /\r\ncontent-length: *(\d+)/i
const chunkedPattern = /\r\ntransfer-encoding: *chunked/i

/** What the head says about the body; without a word there is none. */
export const framingOf = (head: string): Framing => {
  const length = lengthPattern.exec(head)?.[1]
  if (length !== undefined) return Number(length)
  return chunkedPattern.test(head) ? "chunked" : 0
}
