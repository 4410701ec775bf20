/** Everything random of one run, from its seed. */

export interface SeededRandom {
  /** A whole number from 0 to `sides - 1`. */
  readonly roll: (sides: number) => number
  /** Whether something happens that does so once in `sides` times. */
  readonly once: (sides: number) => boolean
  /** One of them. */
  readonly of: <A>(first: A, ...more: ReadonlyArray<A>) => A
  /** A number from 0 to 1, without 1. */
  readonly next: () => number
}

/** Mulberry32: neighbouring seeds have nothing in common. */
export const makeSeededRandom = (seed: number): SeededRandom => {
  let state = Math.imul(seed, 0x9e37_79b1) >>> 0
  const next = (): number => {
    state = (state + 0x6d2b_79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const roll = (sides: number): number => Math.floor(next() * sides)
  return {
    next,
    roll,
    once: (sides) => roll(sides) === 0,
    of: (first, ...more) => {
      const all = [first, ...more]
      return all[roll(all.length)] ?? first
    }
  }
}
