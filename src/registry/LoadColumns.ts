/**
 * A copy of what choosing compares, of all backends side by side: looking at a thousand objects all over the memory took
 * a tenth of a request, and what was in the processor's cache was gone afterwards. The states themselves write it.
 */

type Column = Float64Array<ArrayBuffer>

const firstSeats = 16

/** Mutable by nature. A seat is a backend's place in each of the columns, which are new ones when the board has grown. */
export class Scoreboard {
  inflight: Column = new Float64Array(firstSeats)
  /** Moving average of the time to the response head, in milliseconds; 0 without samples. */
  latency: Column = new Float64Array(firstSeats)
  backAt: Column = new Float64Array(firstSeats)
  #taken = 0
  readonly #free: Array<number> = []
  /** An older snapshot or a request under way may look at a seat for long: it is free when nobody has its owner any more. */
  readonly #left = new FinalizationRegistry<number>((seat) => this.#free.push(seat))

  /** A seat that is `owner`'s for as long as anybody has `owner`. */
  seat(owner: object): number {
    const seat = this.#free.pop() ?? this.#taken++
    if (seat >= this.inflight.length) this.#grow()
    this.#left.register(owner, seat)
    this.inflight[seat] = 0
    this.latency[seat] = 0
    this.backAt[seat] = Number.NEGATIVE_INFINITY
    return seat
  }

  #grow(): void {
    this.inflight = doubled(this.inflight)
    this.latency = doubled(this.latency)
    this.backAt = doubled(this.backAt)
  }
}

const doubled = ({ buffer }: Column): Column => new Float64Array(buffer.transfer(buffer.byteLength * 2))
