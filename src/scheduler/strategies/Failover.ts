import type { Strategy } from "../Strategy.ts"

/** The first in configured order that can take it; the score is the place in that order, from 0. */
export const failover = (): Strategy => ({
  scoresOf: (members) => members.map((_, position) => position),
  choose: (members, { usable }) => members.find(usable)
})
