/** Chance that follows from a seed: the same seed plays the same game. */

/** A source of numbers in [0, 1). Each call moves it on. */
export type Random = () => number

/** Mulberry32: 32 bits of state, good enough to look random. */
export const makeRandom = (seed: number): Random => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/**
 * A 53-bit fingerprint of bytes (cyrb53), chained through `seed`: equal only where all that went before is equal too.
 */
export const fingerprint = (bytes: Uint8Array, seed: number): number => {
  let low = 0xdeadbeef ^ (seed >>> 0)
  let high = 0x41c6ce57 ^ Math.floor(seed / 4_294_967_296)
  for (const byte of bytes) {
    low = Math.imul(low ^ byte, 2_654_435_761)
    high = Math.imul(high ^ byte, 1_597_334_677)
  }
  low = Math.imul(low ^ (low >>> 16), 2_246_822_507) ^ Math.imul(high ^ (high >>> 13), 3_266_489_909)
  high = Math.imul(high ^ (high >>> 16), 2_246_822_507) ^ Math.imul(low ^ (low >>> 13), 3_266_489_909)
  return 4_294_967_296 * (2_097_151 & high) + (low >>> 0)
}

export const fingerprintText = (text: string, seed: number): number => fingerprint(new TextEncoder().encode(text), seed)
