import type { BackendState, Member } from "../../registry/Registry.ts"
import { PrefixIndex } from "../PrefixIndex.ts"
import { costNow } from "../SlowStart.ts"
import type { Strategy } from "../Strategy.ts"
import { Turns } from "./Turns.ts"

/**
 * How much a prompt that has to be computed counts against a request in flight, both measured in requests of ordinary
 * size. The one knob: 0 looks at the load only, a large one at the cache only. Found by the scheduling benchmark.
 */
const missWeight = 2

/**
 * The engine that probably has the longest prefix of this prompt in its cache, weighed against its load.
 *
 * cost = missWeight x (uncached share of the prompt) x (prompt / ordinary prompt) + (in-flight + 1) / weight / (mean of
 * the same over the pool): all three are pure numbers. What was routed is learnt at once, so two requests with one new
 * prefix meet. The holder of a hot prefix is busy then, and the cost sends some to others, who hold it from then on.
 */
export const prefixAware = (): Strategy => {
  const index = new PrefixIndex<BackendState>()
  const turns = new Turns()
  let ordinary = 0
  return {
    choose: (members, { now, prompt, usable }) => {
      const size = prompt === undefined ? 0 : prompt.length
      if (size > 0) ordinary = ordinary === 0 ? size : ordinary + 0.05 * (size - ordinary)
      const held = prompt === undefined ? undefined : index.match(prompt)
      const relative = size === 0 || ordinary === 0 ? 0 : size / ordinary
      const mean = meanCost(members, now)
      let best: Member | undefined
      let least = Number.POSITIVE_INFINITY
      const start = turns.take(members)
      for (let step = 0; step < members.length; step++) {
        const member = members[(start + step) % members.length]
        if (member === undefined) continue
        const { state } = member.backend
        const miss = held === undefined || size === 0 ? 1 : 1 - held(state) / size
        const cost = missWeight * miss * relative + costNow(member, now) / mean
        if (cost < least && usable(member)) {
          best = member
          least = cost
        }
      }
      if (best !== undefined && prompt !== undefined) index.learn(best.backend.state, prompt)
      return best
    }
  }
}

/** Nobody is free of load: each counts with the request that it would get. */
const meanCost = (members: ReadonlyArray<Member>, now: number): number => {
  let sum = 0
  for (const member of members) sum += costNow(member, now)
  return members.length === 0 ? 1 : sum / members.length
}
