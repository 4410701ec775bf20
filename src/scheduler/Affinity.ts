/** Which backend a session was sent to last: a preference with a price, never a pin. */
import { LRUCache } from "lru-cache"

/** Where a session was served last. */
export interface AffinityTarget {
  readonly backend: string
  /** Where the model has instances there: which one. */
  readonly instance: string | undefined
}

interface Entry extends AffinityTarget {
  readonly expires: number
}

/** One table a pool. Bounded: the entry that was not used for the longest goes first. */
export class AffinityTable {
  readonly #ttl: number
  /** A Map out of which every use takes, to put in again, walks over the gaps that are left: 160 µs among 100,000. */
  readonly #entries: LRUCache<string, Entry>
  /** Which session holds a place that only one can hold. */
  readonly #holders = new Map<string, string>()

  constructor(ttl: number, maxEntries: number) {
    this.#ttl = ttl
    // By size, of which each has one: `max` would make room for all of them beforehand.
    this.#entries = new LRUCache({
      maxSize: maxEntries,
      sizeCalculation: () => 1,
      dispose: (entry, key) => this.#leave(key, entry)
    })
  }

  get size(): number {
    return this.#entries.size
  }

  /** Of these, how many hold a place for themselves. */
  get holding(): number {
    return this.#holders.size
  }

  /** Where the session was last; `undefined` where nothing is known, or not any more. */
  lookup(key: string, now: number): AffinityTarget | undefined {
    const entry = this.#entries.peek(key)
    if (entry === undefined) return undefined
    if (entry.expires > now) return entry
    this.#entries.delete(key)
    return undefined
  }

  /** When the session that holds a place will be forgotten, the sooner the longer it was away; `undefined` where none does. */
  heldUntil(place: AffinityTarget, now: number): number | undefined {
    const holder = this.#holders.get(slotOf(place))
    const expires = holder === undefined ? undefined : this.#entries.peek(holder)?.expires
    return expires === undefined || expires <= now ? undefined : expires
  }

  /**
   * Remembers the use; the time to live begins again. `exclusive`: the place has one slot, and so one cache. The one that
   * came last has displaced what others had there, so that nothing draws them back.
   */
  bind(key: string, { backend, instance }: AffinityTarget, exclusive: boolean, now: number): void {
    const entry = { backend, instance, expires: now + this.#ttl }
    this.#entries.set(key, entry)
    if (exclusive) this.#displace(key, slotOf(entry))
    this.#dropExpired(now)
  }

  #displace(key: string, slot: string): void {
    const holder = this.#holders.get(slot)
    if (holder !== undefined) this.#entries.delete(holder)
    this.#holders.set(slot, key)
  }

  /** No place is held whose session is not remembered, so that there are never more holders than sessions. */
  #leave(key: string, entry: Entry): void {
    const slot = slotOf(entry)
    if (this.#holders.get(slot) === key) this.#holders.delete(slot)
  }

  #dropExpired(now: number): void {
    for (const oldest of this.#entries.rkeys()) {
      if ((this.#entries.peek(oldest)?.expires ?? 0) > now) return
      this.#entries.delete(oldest)
    }
  }
}

const slotOf = ({ backend, instance }: AffinityTarget): string => `${backend}\u0000${instance ?? ""}`
