/** Whether JSON that goes by is whole, as far as its brackets and strings tell: for documents that are too large to be held. */
export class JsonBalance {
  #depth = 0
  #inString = false
  /** The character that comes next belongs to a backslash. */
  #isEscaped = false
  #hasBegun = false
  #isBroken = false

  push(bytes: Uint8Array): void {
    let depth = this.#depth
    let inString = this.#inString
    let isEscaped = this.#isEscaped
    for (const byte of bytes) {
      if (inString) {
        if (isEscaped) isEscaped = false
        else if (byte === backslash) isEscaped = true
        else if (byte === quote) inString = false
      } else if (byte === quote) inString = true
      else if (byte === openBrace || byte === openBracket) depth++
      else if (byte === closeBrace || byte === closeBracket) {
        depth--
        if (depth < 0) this.#isBroken = true
      }
      if (byte > space) this.#hasBegun = true
    }
    this.#depth = depth
    this.#inString = inString
    this.#isEscaped = isEscaped
  }

  /** Whether all that was opened is closed, and there is anything at all. */
  get isWhole(): boolean {
    return this.#hasBegun && !this.#isBroken && this.#depth === 0 && !this.#inString
  }
}

const space = 0x20
const quote = 0x22
const backslash = 0x5c
const openBracket = 0x5b
const closeBracket = 0x5d
const openBrace = 0x7b
const closeBrace = 0x7d
