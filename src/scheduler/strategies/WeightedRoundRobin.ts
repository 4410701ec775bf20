import type { BackendState, Member } from "../../registry/Registry.ts"
import { weightNow } from "../SlowStart.ts"
import type { Strategy } from "../Strategy.ts"

/**
 * Smooth weighted round robin: every round each usable member gains its weight, the richest is chosen and pays the sum
 * of all. Weights 5, 1, 1 give a a b a c a a, not five in a row.
 */
export const weightedRoundRobin = (): Strategy => {
  // What each member has gained; kept by backend, so that it survives a new snapshot and ends with the backend.
  const gained = new WeakMap<BackendState, number>()
  return {
    choose: (members, { now, usable }) => {
      let richest: Member | undefined
      let most = Number.NEGATIVE_INFINITY
      let total = 0
      for (const member of members) {
        if (!usable(member)) continue
        const weight = weightNow(member, now)
        const current = (gained.get(member.backend.state) ?? 0) + weight
        gained.set(member.backend.state, current)
        total += weight
        if (current > most) {
          most = current
          richest = member
        }
      }
      if (richest !== undefined) gained.set(richest.backend.state, most - total)
      return richest
    }
  }
}
