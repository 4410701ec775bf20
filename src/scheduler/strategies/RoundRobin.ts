import type { Strategy } from "../Strategy.ts"
import { RoundRobinCursor } from "./RoundRobinCursor.ts"

/** One after the other, whatever their weights; those that cannot take it are skipped. The score is how many come before. */
export const roundRobin = (): Strategy => {
  const cursor = new RoundRobinCursor()
  return {
    scoresOf: (members) => {
      const next = cursor.nextOf(members)
      return members.map((_, position) => (position - next + members.length) % members.length)
    },
    choose: (members, { usable }) => {
      const next = cursor.nextOf(members)
      for (let step = 0; step < members.length; step++) {
        const position = (next + step) % members.length
        const member = members[position]
        if (member !== undefined && usable(member)) {
          cursor.setNext(members, position + 1)
          return member
        }
      }
      return undefined
    }
  }
}
