/** Property tests that are the same in every run. */
import * as fc from "fast-check"

const seed = 20_260_101

/** Tries many values; shows the smallest one for which `property` throws. */
export const holdsFor = <A>(arbitrary: fc.Arbitrary<A>, property: (value: A) => void, runs = 300): void =>
  fc.assert(fc.property(arbitrary, property), { seed, numRuns: runs })
