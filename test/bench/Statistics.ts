/** What many measured values come down to. */
import { quantile } from "../../src/bench/Measurement.ts"

export { quantile }

export interface Summary {
  readonly median: number
  readonly min: number
  readonly max: number
  /** Of each round, in order. */
  readonly values: ReadonlyArray<number>
}

/** What the rounds say together; `undefined` where there are none. */
export const summarize = (values: ReadonlyArray<number>): Summary | undefined => {
  const sorted = values.toSorted((a, b) => a - b)
  const [min] = sorted
  const max = sorted.at(-1)
  if (min === undefined || max === undefined) return undefined
  return { median: quantile(sorted, 0.5), min, max, values }
}

/** A growing list of numbers without a box for each. */
export class Samples {
  #values = new Float64Array(4096)
  #count = 0

  get count(): number {
    return this.#count
  }

  add(value: number): void {
    if (this.#count === this.#values.length) {
      const larger = new Float64Array(this.#count * 2)
      larger.set(this.#values)
      this.#values = larger
    }
    this.#values[this.#count++] = value
  }

  sorted(): Float64Array {
    return this.#values.subarray(0, this.#count).toSorted()
  }
}
