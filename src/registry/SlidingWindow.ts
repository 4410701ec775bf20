/** Successes and failures of the recent past, in a ring of buckets: constant memory, constant time, no timers. */

const bucketCount = 10

/** Counts over the last `span` milliseconds, to a tenth of it. Mutable by design: it is written on every request. */
export class SlidingWindow {
  readonly #width: number
  readonly #successes = new Float64Array(bucketCount)
  readonly #failures = new Float64Array(bucketCount)
  /** Sums over the buckets: they are asked for more often than written. */
  #allSuccesses = 0
  #allFailures = 0
  #slot = 0
  #started = false

  constructor(span: number) {
    this.#width = span / bucketCount
  }

  record(success: boolean, now: number): void {
    this.#advance(now)
    const counts = success ? this.#successes : this.#failures
    counts[this.#slot % bucketCount] = (counts[this.#slot % bucketCount] ?? 0) + 1
    if (success) this.#allSuccesses++
    else this.#allFailures++
  }

  /** A success of before, the newest that is known, has turned out to be a failure. */
  failedAfterAll(now: number): void {
    this.record(false, now)
    for (let back = 0; back < bucketCount; back++) {
      const bucket = (this.#slot + bucketCount - back) % bucketCount
      const count = this.#successes[bucket] ?? 0
      if (count === 0) continue
      this.#successes[bucket] = count - 1
      this.#allSuccesses--
      return
    }
  }

  total(now: number): number {
    this.#advance(now)
    return this.#allSuccesses + this.#allFailures
  }

  failures(now: number): number {
    this.#advance(now)
    return this.#allFailures
  }

  /** Failures over calls, 0 where there were none. */
  failureRate(now: number): number {
    const total = this.total(now)
    return total === 0 ? 0 : this.#allFailures / total
  }

  clear(): void {
    this.#successes.fill(0)
    this.#failures.fill(0)
    this.#allSuccesses = 0
    this.#allFailures = 0
  }

  /** Empties the buckets that time has passed over. */
  #advance(now: number): void {
    const slot = Math.floor(now / this.#width)
    if (slot === this.#slot && this.#started) return
    if (!this.#started) {
      this.#started = true
      this.#slot = slot
    }
    const passed = Math.min(slot - this.#slot, bucketCount)
    for (let i = 1; i <= passed; i++) {
      const bucket = (this.#slot + i) % bucketCount
      this.#allSuccesses -= this.#successes[bucket] ?? 0
      this.#allFailures -= this.#failures[bucket] ?? 0
      this.#successes[bucket] = 0
      this.#failures[bucket] = 0
    }
    if (slot > this.#slot) this.#slot = slot
  }
}
