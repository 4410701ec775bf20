/** A bucket that fills at a steady rate: what is allowed in the long run, with room for a burst. */

/** What rounding may have lost: a client that has waited as long as told gets in. */
const roundingError = 1e-6

/** Plain numbers, refilled on being asked; no timer ever runs for it. */
export class TokenBucket {
  readonly capacity: number
  readonly perSecond: number
  /** Tokens a millisecond. */
  readonly #rate: number
  #level: number
  #at: number

  constructor(capacity: number, perSecond: number, now: number) {
    this.capacity = capacity
    this.perSecond = perSecond
    this.#rate = perSecond / 1000
    this.#level = capacity
    this.#at = now
  }

  /** What is in it; negative after more was used than was there. */
  level(now: number): number {
    if (now > this.#at) {
      this.#level = Math.min(this.capacity, this.#level + (now - this.#at) * this.#rate)
      this.#at = now
    }
    return this.#level
  }

  /** Whether `cost` is there; for a cost above the capacity, whether it is full. */
  has(cost: number, now: number): boolean {
    return this.level(now) >= Math.min(cost, this.capacity) - roundingError
  }

  /** Takes `cost` if it is there; a cost above the capacity needs a full bucket and leaves it in debt. */
  take(cost: number, now: number): boolean {
    if (!this.has(cost, now)) return false
    this.#level -= cost
    return true
  }

  /** Gives back what was not used after all, or (negative) takes what was used beyond. */
  settle(amount: number, now: number): void {
    this.#level = Math.min(this.capacity, this.level(now) + amount)
  }

  /** Milliseconds until `cost` is there. */
  waitFor(cost: number, now: number): number {
    return Math.max(0, (Math.min(cost, this.capacity) - this.level(now)) / this.#rate)
  }

  /** Milliseconds until it is full. */
  fullIn(now: number): number {
    return (this.capacity - this.level(now)) / this.#rate
  }
}
