import type { BackendState, Member } from "../../registry/Registry.ts"
import { weightNow } from "../SlowStart.ts"
import type { Strategy } from "../Strategy.ts"

/** Milliseconds after which a sample has lost about two thirds of its say. */
const memory = 30_000

/**
 * In proportion to weight / latency, smoothly as {@link weightedRoundRobin} does it: who is twice as slow gets half as
 * much. To give each request to whoever was fastest lately would send them all to one, until it is the slowest. The
 * latency is the moving average of the time to the first output. A backend without samples is tried, with one request
 * at a time; an old sample fades towards the mean of the pool, so that who was slow once is asked again.
 */
export const latencyBased = (): Strategy => {
  const gained = new WeakMap<BackendState, number>()
  return {
    choose: (members, { now, usable }) => {
      const mean = meanLatency(members)
      let richest: Member | undefined
      let most = Number.NEGATIVE_INFINITY
      let total = 0
      for (const member of members) {
        if (!usable(member)) continue
        const { state } = member.backend
        if (state.latency.count === 0 && state.inflight === 0) return member
        const share = (weightNow(member, now) * mean) / expectedLatency(state, mean, now)
        const current = (gained.get(state) ?? 0) + share
        gained.set(state, current)
        total += share
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

const meanLatency = (members: ReadonlyArray<Member>): number => {
  let sum = 0
  let count = 0
  for (const { backend } of members) {
    if (backend.state.latency.count === 0) continue
    sum += backend.state.latency.average
    count++
  }
  return count === 0 ? 1 : Math.max(1, sum / count)
}

/** At least a millisecond: below that, differences mean nothing. */
const expectedLatency = ({ latency: { average, count, lastAt } }: BackendState, mean: number, now: number): number => {
  if (count === 0) return mean
  const age = now - lastAt
  return Math.max(1, age < 1000 ? average : mean + (average - mean) * Math.exp(-age / memory))
}
