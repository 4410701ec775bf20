/** Numbers that look random and follow from a seed (mulberry32). */
export class Random {
  #state: number
  constructor(seed: number) {
    this.#state = seed >>> 0
  }
  /** Uniform, 0 included, 1 not. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 0x1_0000_0000
  }
  /** The time to the next of independent events that come every `mean` on average. */
  exponential(mean: number): number {
    return -Math.log(1 - this.next()) * mean
  }
  /** Long-tailed around a median, as lengths of prompts and answers are. */
  lognormal(median: number, sigma: number): number {
    const gauss = Math.sqrt(-2 * Math.log(1 - this.next())) * Math.cos(2 * Math.PI * this.next())
    return median * Math.exp(sigma * gauss)
  }
  below(n: number): number {
    return Math.floor(this.next() * n)
  }
}
