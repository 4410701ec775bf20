import type { Member } from "../../registry/Registry.ts"
import { weightNow } from "../SlowStart.ts"
import type { Strategy } from "../Strategy.ts"
import { Turns } from "./Turns.ts"

/** Milliseconds after which a sample has lost about two thirds of its say. */
const memory = 30_000

/**
 * The lowest moving average of the time to the response head. A backend without samples is tried, with one request at a
 * time; an old sample fades towards the mean of the pool, so that who was slow once is asked again.
 */
export const latencyBased = (): Strategy => {
  const turns = new Turns()
  return {
    choose: (members, { now, usable }) => {
      const mean = meanLatency(members)
      let best: Member | undefined
      let least = Number.POSITIVE_INFINITY
      const start = turns.take(members)
      for (let step = 0; step < members.length; step++) {
        const member = members[(start + step) % members.length]
        if (member === undefined) continue
        const expected = (expectedLatency(member, mean, now) * member.weight) / weightNow(member, now)
        const isBetter = expected < least || (expected === least && member.backend.state.inflight < inflightOf(best))
        if (isBetter && usable(member)) {
          best = member
          least = expected
        }
      }
      return best
    }
  }
}

const inflightOf = (member: Member | undefined): number => member?.backend.state.inflight ?? Number.POSITIVE_INFINITY

const meanLatency = (members: ReadonlyArray<Member>): number => {
  let sum = 0
  let count = 0
  for (const { backend } of members) {
    if (backend.state.latency.count === 0) continue
    sum += backend.state.latency.average
    count++
  }
  return count === 0 ? 0 : sum / count
}

const expectedLatency = ({ backend: { state } }: Member, mean: number, now: number): number => {
  const { average, count, lastAt } = state.latency
  if (count === 0) return state.inflight === 0 ? -1 : mean
  const age = now - lastAt
  return age < 1000 ? average : mean + (average - mean) * Math.exp(-age / memory)
}
