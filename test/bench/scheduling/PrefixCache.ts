/** What an engine remembers of prompts: chained blocks, the least recently used forgotten first, tails before heads. */
export class PrefixCache {
  readonly #capacity: number
  /** In order of use: a Map keeps insertion order, and every use inserts anew. */
  readonly #blocks = new Map<number, true>()

  constructor(capacity: number) {
    this.#capacity = capacity
  }

  /** Blocks from the beginning of the prompt that are there. Chained, so the first that is missing ends it. */
  match(prompt: Int32Array): number {
    let low = 0
    let high = prompt.length
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (this.#blocks.has(prompt[middle - 1] ?? 0)) low = middle
      else high = middle - 1
    }
    return low
  }

  touch(prompt: Int32Array): void {
    for (let index = prompt.length - 1; index >= 0; index--) {
      const block = prompt[index] ?? 0
      this.#blocks.delete(block)
      this.#blocks.set(block, true)
    }
    for (const block of this.#blocks.keys()) {
      if (this.#blocks.size <= this.#capacity) return
      this.#blocks.delete(block)
    }
  }

  clear(): void {
    this.#blocks.clear()
  }
}
