import { weightNow } from "../SlowStart.ts"
import type { Strategy } from "../Strategy.ts"
import { SmoothTurns } from "./SmoothWeightedRoundRobin.ts"

/** Each as often as its weight says, and as evenly as that can be done. */
export const weightedRoundRobin = (): Strategy => {
  const turns = new SmoothTurns()
  return {
    choose: (members, { now, usable }) => turns.next(members, usable, (member) => weightNow(member, now))
  }
}
