/**
 * A map whose entries are in the order of their use.
 *
 * A plain Map is in the order of insertion, and so could do it: every use takes the entry out and puts it in again. But
 * what is taken out leaves a gap behind, and both its chains and its iterators walk over all of them until it is built
 * anew: up to 160 µs for a use among 100,000 entries, where this takes a fraction of one. The order is kept in numbers
 * instead of objects that know each other, since a quarter of a million of those keep the collector busy.
 */

const nobody = -1
const firstPlaces = 16

export class RecencyMap<K, V> {
  readonly #places = new Map<K, number>()
  readonly #keys: Array<K | undefined> = []
  readonly #values: Array<V | undefined> = []
  /** The place of who was used before and after; a free place's is the next free one. */
  #older = new Int32Array(firstPlaces)
  #newer = new Int32Array(firstPlaces)
  #oldest = nobody
  #newest = nobody
  #free = nobody

  get size(): number {
    return this.#places.size
  }

  /** The key that was not used for the longest; `undefined` where there is none. */
  get oldest(): K | undefined {
    return this.#oldest === nobody ? undefined : this.#keys[this.#oldest]
  }

  /** Looks without using it. */
  peek(key: K): V | undefined {
    const place = this.#places.get(key)
    return place === undefined ? undefined : this.#values[place]
  }

  /** Looking up is a use. */
  get(key: K): V | undefined {
    const place = this.#places.get(key)
    if (place === undefined) return undefined
    this.#used(place)
    return this.#values[place]
  }

  /** So is writing. */
  set(key: K, value: V): void {
    const known = this.#places.get(key)
    if (known !== undefined) {
      this.#values[known] = value
      return this.#used(known)
    }
    const place = this.#take()
    this.#places.set(key, place)
    this.#keys[place] = key
    this.#values[place] = value
    this.#append(place)
  }

  delete(key: K): boolean {
    const place = this.#places.get(key)
    if (place === undefined) return false
    this.#places.delete(key)
    this.#keys[place] = undefined
    this.#values[place] = undefined
    this.#unlink(place)
    this.#older[place] = this.#free
    this.#free = place
    return true
  }

  #take(): number {
    const place = this.#free
    if (place === nobody) {
      const { length } = this.#keys
      if (length === this.#older.length) {
        this.#older = doubled(this.#older)
        this.#newer = doubled(this.#newer)
      }
      return length
    }
    this.#free = this.#older[place] ?? nobody
    return place
  }

  #used(place: number): void {
    if (place === this.#newest) return
    this.#unlink(place)
    this.#append(place)
  }

  #append(place: number): void {
    this.#older[place] = this.#newest
    this.#newer[place] = nobody
    if (this.#newest === nobody) this.#oldest = place
    else this.#newer[this.#newest] = place
    this.#newest = place
  }

  #unlink(place: number): void {
    const older = this.#older[place] ?? nobody
    const newer = this.#newer[place] ?? nobody
    if (older === nobody) this.#oldest = newer
    else this.#newer[older] = newer
    if (newer === nobody) this.#newest = older
    else this.#older[newer] = older
  }
}

const doubled = (places: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> => {
  const larger = new Int32Array(places.length * 2)
  larger.set(places)
  return larger
}
