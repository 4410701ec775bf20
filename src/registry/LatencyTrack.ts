/** How long a backend takes: a moving average for choosing, and percentiles of the recent past for people. */

const smoothing = 0.2
const steadySmoothing = 0.03
const maxSamples = 256

/** Milliseconds in, milliseconds out. Mutable by design: it is written on every request. */
export class LatencyTrack {
  readonly #samples = new Float64Array(maxSamples)
  #count = 0
  #average = 0
  #steady = 0
  #lastAt = 0
  readonly #told: (average: number) => void

  /** `told`: of the average, whenever it has changed. */
  constructor(told: (average: number) => void = () => {}) {
    this.#told = told
  }

  record(millis: number, now: number): void {
    this.#average = this.#count === 0 ? millis : this.#average + smoothing * (millis - this.#average)
    // While there are few, each has the same say.
    this.#steady += Math.max(steadySmoothing, 1 / (this.#count + 1)) * (millis - this.#steady)
    this.#samples[this.#count % maxSamples] = millis
    this.#count++
    this.#lastAt = now
    this.#told(this.#average)
  }

  /** Exponentially weighted moving average (factor 0.2, the first sample as it is); 0 without samples. */
  get average(): number {
    return this.#average
  }

  /** The same with a longer memory (factor 0.03): what is true of the backend rather than of this moment. */
  get steady(): number {
    return this.#steady
  }

  get count(): number {
    return this.#count
  }

  /** When the newest sample was taken, in monotonic milliseconds. */
  get lastAt(): number {
    return this.#lastAt
  }

  /** The median of the newest `count` samples, or of as many as there are; 0 without samples. */
  recent(count: number): number {
    const size = Math.min(count, this.#count, maxSamples)
    const newest = new Float64Array(size)
    for (let back = 1; back <= size; back++) newest[back - 1] = this.#samples[(this.#count - back) % maxSamples] ?? 0
    return interpolate(newest.toSorted(), (size - 1) / 2)
  }

  /** Percentiles (each 0 to 1) of the last 256 samples, by linear interpolation; zeros without samples. */
  percentiles(...shares: ReadonlyArray<number>): ReadonlyArray<number> {
    const size = Math.min(this.#count, maxSamples)
    const sorted = this.#samples.slice(0, size).toSorted()
    return shares.map((share) => interpolate(sorted, share * (size - 1)))
  }
}

const interpolate = (sorted: Float64Array, position: number): number => {
  const below = sorted[Math.floor(position)] ?? 0
  const above = sorted[Math.ceil(position)] ?? below
  return below + (above - below) * (position - Math.floor(position))
}
