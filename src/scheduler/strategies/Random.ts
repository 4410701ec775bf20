import type { Member } from "../../registry/Registry.ts"
import { weightNow } from "../SlowStart.ts"
import type { Strategy } from "../Strategy.ts"

/** Anybody, in proportion to the weights. */
export const random = (): Strategy => ({
  choose: (members, { now, random: draw, usable }) => {
    let chosen: Member | undefined
    let total = 0
    for (const member of members) {
      if (!usable(member)) continue
      // One pass: each replaces the choice with the probability that it has among those seen so far.
      const weight = weightNow(member, now)
      total += weight
      if (draw() * total < weight) chosen = member
    }
    return chosen
  }
})
