/**
 * A line of events that is too long to be kept, read as it comes: its beginning, and how often a mark was found in it.
 * Costs the same memory however long it is.
 */
export class LongLine {
  readonly #mark: RegExp | undefined
  /** How it begins. */
  readonly head: string
  #found = 0
  #seam = ""

  /** `mark`: global, and never matches more than `overlap` characters. */
  constructor(mark: RegExp | undefined, start: string) {
    this.#mark = mark
    this.head = start.slice(0, headChars)
    this.push(start)
  }

  /** How often the mark was found so far. */
  get found(): number {
    return this.#found
  }

  push(part: string): void {
    if (this.#mark === undefined) return
    const text = this.#seam + part
    // What reaches into this part counts; what lay before it as a whole was counted then.
    for (const match of text.matchAll(this.#mark)) {
      if (match.index + match[0].length > this.#seam.length) this.#found++
    }
    this.#seam = text.slice(-overlapChars)
  }
}

/** Longer than any mark inside a line. */
const overlapChars = 64

/** Longer than any mark at the start of a line. */
const headChars = 64
