/**
 * A copy of what choosing compares, of all backends side by side: looking at a thousand objects all over the memory took
 * a tenth of a request, and what was in the processor's cache was gone afterwards. The states themselves write it.
 */

type Column = Float64Array<ArrayBuffer>

const initialSlots = 16

/** Mutable by nature. A slot is the index of a backend in each of the columns, which are new ones when they have grown. */
export class LoadColumns {
  inflight: Column = new Float64Array(initialSlots)
  /** Moving average of the time to the response head, in milliseconds; 0 without samples. */
  latency: Column = new Float64Array(initialSlots)
  recoveredAt: Column = new Float64Array(initialSlots)
  #taken = 0
  readonly #free: Array<number> = []
  /** An older snapshot or a request under way may look at a slot for long: it is free when its owner is not reachable any more. */
  readonly #left = new FinalizationRegistry<number>((slot) => this.#free.push(slot))

  /** A slot that is `owner`'s for as long as `owner` is reachable. */
  slot(owner: object): number {
    const slot = this.#free.pop() ?? this.#taken++
    if (slot >= this.inflight.length) this.#grow()
    this.#left.register(owner, slot)
    this.inflight[slot] = 0
    this.latency[slot] = 0
    this.recoveredAt[slot] = Number.NEGATIVE_INFINITY
    return slot
  }

  #grow(): void {
    this.inflight = doubled(this.inflight)
    this.latency = doubled(this.latency)
    this.recoveredAt = doubled(this.recoveredAt)
  }
}

const doubled = ({ buffer }: Column): Column => new Float64Array(buffer.transfer(buffer.byteLength * 2))
