/** Which backend a session was sent to last: a preference with a price, never a pin. */

/** One table a pool. Bounded: the entry that was not used for the longest goes first. */
export class AffinityTable {
  readonly #ttl: number
  readonly #maxEntries: number
  /** In order of use: a Map keeps insertion order, and every use inserts anew. */
  readonly #entries = new Map<string, { readonly backend: string; readonly expires: number }>()

  constructor(ttl: number, maxEntries: number) {
    this.#ttl = ttl
    this.#maxEntries = maxEntries
  }

  get size(): number {
    return this.#entries.size
  }

  /** The backend's name; `undefined` where nothing is known, or not any more. */
  lookup(key: string, now: number): string | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    if (entry.expires > now) return entry.backend
    this.#entries.delete(key)
    return undefined
  }

  /** Remembers the use; the time to live begins again. */
  bind(key: string, backend: string, now: number): void {
    this.#entries.delete(key)
    this.#entries.set(key, { backend, expires: now + this.#ttl })
    this.#dropOldest(now)
  }

  #dropOldest(now: number): void {
    for (const [key, entry] of this.#entries) {
      if (entry.expires > now && this.#entries.size <= this.#maxEntries) return
      this.#entries.delete(key)
    }
  }
}
