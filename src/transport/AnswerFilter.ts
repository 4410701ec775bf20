/**
 * What a connection brings, without the interim answers (RFC 9110, 15.2) that were not asked for: `100 Continue` and its
 * kin may come before any answer, and undici breaks a connection that brings one. `101` is an answer, and stays.
 */

/** Bytes of interim answers to one request; more is no HTTP that we understand, as with a head that never ends. */
const maxInterimBytes = 32 * 1024

export class AnswerFilter {
  #held: Buffer | undefined
  #interim = 0
  #begun = false
  #hasServed = false

  /** Whether an answer has come on this connection before the one that is awaited. */
  get hasServed(): boolean {
    return this.#hasServed
  }

  /** The answer to the next request is awaited. */
  awaitAnswer(): void {
    this.#hasServed ||= this.#begun
    this.#begun = false
    this.#interim = 0
  }

  /** What of these bytes belongs to the answer; `null` where nothing does yet. */
  take(bytes: Buffer): Buffer | null {
    if (this.#begun) return bytes
    let rest = this.#held === undefined ? bytes : Buffer.concat([this.#held, bytes])
    this.#held = undefined
    while (rest.length > 0) {
      if (!mayBeInterim(rest)) return this.#answer(rest)
      const end = endOfHead(rest)
      const size = end < 0 ? rest.length : end
      if (this.#interim + size > maxInterimBytes) return this.#answer(rest)
      if (end < 0) {
        this.#held = rest
        return null
      }
      this.#interim += end
      rest = rest.subarray(end)
    }
    return null
  }

  #answer(bytes: Buffer): Buffer {
    this.#begun = true
    return bytes
  }
}

const protocol = Buffer.from("HTTP/1.", "latin1")

/** `HTTP/1.1 100`, or as much of it as there is; `101` is none. */
const mayBeInterim = (bytes: Buffer): boolean => {
  // Nearly all answers leave here: to compare the rest takes ten times as long.
  if (!isCode(bytes[protocol.length + 2], 0x31)) return false
  const known = Math.min(bytes.length, protocol.length)
  if (bytes.compare(protocol, 0, known, 0, known) !== 0) return false
  const [version, space, , tens, units] = bytes.subarray(protocol.length, protocol.length + 5)
  if (!isDigit(version) || !isCode(space, 0x20) || !isDigit(tens) || !isDigit(units)) return false
  return !(tens === 0x30 && units === 0x31)
}

/** What has not come yet may be anything. */
const isCode = (byte: number | undefined, code: number): boolean => byte === undefined || byte === code
const isDigit = (byte: number | undefined): boolean => byte === undefined || (byte >= 0x30 && byte <= 0x39)

/** Where the next thing begins after a head; -1 where the head is not there as a whole. */
const endOfHead = (bytes: Buffer): number => {
  const blank = bytes.indexOf("\r\n\r\n")
  const bare = bytes.indexOf("\n\n")
  if (blank >= 0 && (bare < 0 || blank < bare)) return blank + 4
  return bare < 0 ? -1 : bare + 2
}
