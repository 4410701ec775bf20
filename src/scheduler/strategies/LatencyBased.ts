import type { BackendState, Member } from "../../registry/Registry.ts"
import { weightNow } from "../SlowStart.ts"
import type { Strategy } from "../Strategy.ts"
import { SmoothWeightedRoundRobin } from "./SmoothWeightedRoundRobin.ts"

/** Milliseconds after which a sample has lost half of its say. */
const halfLifeMillis = 30_000

/** Below a millisecond, differences mean nothing. */
const minLatencyMillis = 1

/**
 * In proportion to weight / latency: one that is twice as slow gets half as much. To give each request to the one that was fastest
 * lately would send them all to one, until it is the slowest. The latency is the moving average of the time to the first
 * output. A backend without samples is tried, with one request at a time; an old sample fades towards the mean of the
 * pool, so that one that was slow once is asked again.
 */
export const latencyBased = (): Strategy => {
  const cursor = new SmoothWeightedRoundRobin()
  return {
    scoresOf: (members, { now, usable }) => {
      const mean = meanLatency(members)
      const isDue = cursor.isDue(members)
      const scores = cursor.scores(members, (member) => shareOf(member, mean, now))
      // One without samples is taken before any is compared.
      return members.map((member, position) =>
        isDue && isUntried(member) && usable(member) ? undefined : scores[position]
      )
    },
    choose: (members, { now, usable }) => {
      const untried = cursor.isDue(members) ? members.find((member) => isUntried(member) && usable(member)) : undefined
      if (untried !== undefined) return untried
      let mean: number | undefined
      return cursor.next(members, usable, (member) => {
        mean ??= meanLatency(members)
        return shareOf(member, mean, now)
      })
    }
  }
}

const shareOf = (member: Member, mean: number, now: number): number =>
  (weightNow(member, now) * mean) / expectedLatency(member.backend.state, mean, now)

const isUntried = ({ backend: { state } }: Member): boolean => state.latency.count === 0 && state.inflight === 0

const meanLatency = (members: ReadonlyArray<Member>): number => {
  let sum = 0
  let count = 0
  for (const { backend } of members) {
    if (backend.state.latency.count === 0) continue
    sum += backend.state.latency.average
    count++
  }
  return count === 0 ? minLatencyMillis : Math.max(minLatencyMillis, sum / count)
}

const expectedLatency = ({ latency }: BackendState, mean: number, now: number): number => {
  if (latency.count === 0) return mean
  const say = halfLifeMillis / (halfLifeMillis + now - latency.lastAt)
  return Math.max(minLatencyMillis, mean + (latency.average - mean) * say)
}
