/** Just enough of WebSocket's framing (RFC 6455, 5) to know where a frame ends, and to close in good order there. */
import { randomBytes } from "node:crypto"

const closeOpcode = 8

/** The longest head of a frame: two bytes, eight of length, four of mask. */
const maxHeadBytes = 14

/** Follows the frames of one direction. Mutable by nature; to be told of all bytes in order. */
export class FrameTracker {
  /** Of a head that has not all come: at most {@link maxHeadBytes}. */
  readonly #head = Buffer.alloc(maxHeadBytes)
  #headBytes = 0
  /** Of a payload that has not all come. */
  #left = 0
  #closed = false

  /** Whether a close frame went by: nothing may follow it. */
  get closed(): boolean {
    return this.#closed
  }

  /** Whether a whole frame was the last thing that went by, so that another one can follow. */
  get atBoundary(): boolean {
    return this.#left === 0 && this.#headBytes === 0
  }

  push(bytes: Uint8Array): void {
    let at = 0
    while (at < bytes.length) {
      if (this.#left > 0) {
        const taken = Math.min(this.#left, bytes.length - at)
        this.#left -= taken
        at += taken
        continue
      }
      this.#head[this.#headBytes++] = bytes[at++] ?? 0
      if (this.#headBytes === headLength(this.#head, this.#headBytes)) this.#begin()
    }
  }

  /** The head is complete. */
  #begin(): void {
    this.#left = payloadLength(this.#head)
    this.#closed ||= ((this.#head[0] ?? 0) & 0x0f) === closeOpcode
    this.#headBytes = 0
  }
}

/** What the second byte says of the length: itself, or that two or eight bytes follow that say it. */
const shortLength = (head: Buffer): number => (head[1] ?? 0) & 0x7f

const lengthBytes = (head: Buffer): number => {
  const short = shortLength(head)
  return short === 126 ? 2 : short === 127 ? 8 : 0
}

/** How long the head is, as far as can be told from what has come. */
const headLength = (head: Buffer, known: number): number => {
  if (known < 2) return 2
  const isMasked = ((head[1] ?? 0) & 0x80) !== 0
  return 2 + lengthBytes(head) + (isMasked ? 4 : 0)
}

const payloadLength = (head: Buffer): number => {
  const bytes = lengthBytes(head)
  if (bytes === 0) return shortLength(head)
  return bytes === 2 ? head.readUInt16BE(2) : Number(head.readBigUInt64BE(2))
}

/** Status codes of RFC 6455, 7.4.1 and the IANA registry. */
export const closeCodes = { goingAway: 1001, serviceRestart: 1012 } as const

/** `reason`: up to 123 bytes. `masked`: as a client must send it. */
export const closeFrame = (code: number, reason: string, masked: boolean): Buffer => {
  const payload = Buffer.concat([Buffer.from([code >> 8, code & 0xff]), Buffer.from(reason, "utf8")])
  const head = Buffer.from([0x80 | closeOpcode, payload.length | (masked ? 0x80 : 0)])
  if (!masked) return Buffer.concat([head, payload])
  const mask = randomBytes(4)
  return Buffer.concat([head, mask, payload.map((byte, i) => byte ^ (mask[i % 4] ?? 0))])
}
