import type { Member } from "../../registry/Registry.ts"
import { costNow } from "../SlowStart.ts"
import type { Strategy } from "../Strategy.ts"
import { Turns } from "./Turns.ts"

/**
 * The smallest (in-flight + 1) / weight: with the 1, weights count on an idle pool too. Ties go to the lower average
 * latency, where a backend without samples is first, so that it gets some; what still ties takes turns.
 */
export const leastInflight = (): Strategy => {
  const turns = new Turns()
  return {
    choose: (members, { now, usable }) => {
      let best: Member | undefined
      let bestCost = Number.POSITIVE_INFINITY
      let bestLatency = Number.POSITIVE_INFINITY
      const count = members.length
      const start = turns.take(members)
      for (let step = 0; step < count; step++) {
        const position = start + step
        const member = members[position < count ? position : position - count]
        if (member === undefined) continue
        const { state } = member.backend
        const cost = costNow(member, now)
        if (cost > bestCost) continue
        const latency = state.latency.average
        if (cost === bestCost && latency >= bestLatency) continue
        if (!usable(member)) continue
        best = member
        bestCost = cost
        bestLatency = latency
      }
      return best
    }
  }
}
