import type { Strategy } from "../Strategy.ts"

/** One after the other, whatever their weights; those that cannot take it are skipped. */
export const roundRobin = (): Strategy => {
  let next = 0
  return {
    choose: (members, { usable }) => {
      for (let step = 0; step < members.length; step++) {
        const member = members[(next + step) % members.length]
        if (member !== undefined && usable(member)) {
          next = (next + step + 1) % members.length
          return member
        }
      }
      return undefined
    }
  }
}
