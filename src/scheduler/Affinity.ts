/** Which backend a session was sent to last: a preference with a price, never a pin. */
import { RecencyMap } from "../domain/RecencyMap.ts"

/** Where a session was served last. */
export interface Place {
  readonly backend: string
  /** Where the model has instances there: which one. */
  readonly instance: string | undefined
}

interface Entry extends Place {
  readonly expires: number
}

/** One table a pool. Bounded: the entry that was not used for the longest goes first. */
export class AffinityTable {
  readonly #ttl: number
  readonly #maxEntries: number
  readonly #entries = new RecencyMap<string, Entry>()
  /** Who holds a place that only one can hold. */
  readonly #holders = new Map<string, string>()

  constructor(ttl: number, maxEntries: number) {
    this.#ttl = ttl
    this.#maxEntries = maxEntries
  }

  get size(): number {
    return this.#entries.size
  }

  /** Of these, how many hold a place for themselves. */
  get holding(): number {
    return this.#holders.size
  }

  /** Where the session was last; `undefined` where nothing is known, or not any more. */
  lookup(key: string, now: number): Place | undefined {
    const entry = this.#entries.peek(key)
    if (entry === undefined) return undefined
    if (entry.expires > now) return entry
    this.#forget(key, entry)
    return undefined
  }

  /** When whoever holds a place will be forgotten, the sooner the longer it was away; `undefined` where nobody does. */
  heldUntil(place: Place, now: number): number | undefined {
    const holder = this.#holders.get(slotOf(place))
    const expires = holder === undefined ? undefined : this.#entries.peek(holder)?.expires
    return expires === undefined || expires <= now ? undefined : expires
  }

  /**
   * Remembers the use; the time to live begins again. `exclusive`: the place has one slot, and so one cache. Whoever
   * came last has displaced what others had there, so that nothing draws them back.
   */
  bind(key: string, { backend, instance }: Place, exclusive: boolean, now: number): void {
    const before = this.#entries.peek(key)
    if (before !== undefined) this.#leave(key, before)
    const entry = { backend, instance, expires: now + this.#ttl }
    if (exclusive) this.#displace(key, slotOf(entry))
    this.#entries.set(key, entry)
    this.#dropOldest(now)
  }

  #displace(key: string, slot: string): void {
    const holder = this.#holders.get(slot)
    if (holder !== undefined) this.#entries.delete(holder)
    this.#holders.set(slot, key)
  }

  /** Nobody holds a place whose session is not remembered, so that there are never more holders than sessions. */
  #forget(key: string, entry: Entry): void {
    this.#entries.delete(key)
    this.#leave(key, entry)
  }

  #leave(key: string, entry: Entry): void {
    const slot = slotOf(entry)
    if (this.#holders.get(slot) === key) this.#holders.delete(slot)
  }

  #dropOldest(now: number): void {
    for (;;) {
      const key = this.#entries.oldest
      const entry = key === undefined ? undefined : this.#entries.peek(key)
      if (key === undefined || entry === undefined) return
      if (entry.expires > now && this.#entries.size <= this.#maxEntries) return
      this.#forget(key, entry)
    }
  }
}

const slotOf = ({ backend, instance }: Place): string => `${backend}\u0000${instance ?? ""}`
