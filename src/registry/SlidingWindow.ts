/** Successes and failures of the recent past, in a ring of buckets: constant memory, constant time, no timers. */

const bucketCount = 10

/** Counts over the last `span` milliseconds, to a tenth of it. Mutable by design: it is written on every request. */
export class SlidingWindow {
  readonly #width: number
  readonly #successes = new Float64Array(bucketCount)
  readonly #failures = new Float64Array(bucketCount)
  #slot = 0
  #started = false

  constructor(span: number) {
    this.#width = span / bucketCount
  }

  record(success: boolean, now: number): void {
    this.#advance(now)
    const counts = success ? this.#successes : this.#failures
    counts[this.#slot % bucketCount] = (counts[this.#slot % bucketCount] ?? 0) + 1
  }

  total(now: number): number {
    this.#advance(now)
    return sum(this.#successes) + sum(this.#failures)
  }

  failures(now: number): number {
    this.#advance(now)
    return sum(this.#failures)
  }

  /** Failures over calls, 0 where there were none. */
  failureRate(now: number): number {
    const total = this.total(now)
    return total === 0 ? 0 : sum(this.#failures) / total
  }

  clear(): void {
    this.#successes.fill(0)
    this.#failures.fill(0)
  }

  /** Empties the buckets that time has passed over. */
  #advance(now: number): void {
    const slot = Math.floor(now / this.#width)
    if (!this.#started) {
      this.#started = true
      this.#slot = slot
    }
    const passed = Math.min(slot - this.#slot, bucketCount)
    for (let i = 1; i <= passed; i++) {
      this.#successes[(this.#slot + i) % bucketCount] = 0
      this.#failures[(this.#slot + i) % bucketCount] = 0
    }
    if (slot > this.#slot) this.#slot = slot
  }
}

const sum = (counts: Float64Array): number => {
  let total = 0
  for (const count of counts) total += count
  return total
}
