import type { Strategy } from "../Strategy.ts"

/** The first in configured order that can take it. */
export const failover = (): Strategy => ({
  choose: (members, { usable }) => members.find(usable)
})
