import { weightNow } from "../SlowStart.ts"
import type { Strategy } from "../Strategy.ts"
import { SmoothWeightedRoundRobin } from "./SmoothWeightedRoundRobin.ts"

/** Each as often as its weight says, and as evenly as that can be done. */
export const weightedRoundRobin = (): Strategy => {
  const cursor = new SmoothWeightedRoundRobin()
  return {
    scoresOf: (members, { now }) => cursor.scores(members, (member) => weightNow(member, now)),
    choose: (members, { now, usable }) => cursor.next(members, usable, (member) => weightNow(member, now))
  }
}
