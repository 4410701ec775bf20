import type { Member } from "../../registry/Registry.ts"
import { weightNow } from "../SlowStart.ts"
import type { Strategy } from "../Strategy.ts"
import { RoundRobinCursor } from "./RoundRobinCursor.ts"

/** Milliseconds: what is expected of a backend while none has a sample. */
const assumedLatencyMillis = 2000

/** Response time x (in-flight + 1) / success rate, per weight: the lowest wins. One without a sample is taken for average. */
export const responseAware = (): Strategy => {
  const cursor = new RoundRobinCursor()
  return {
    scoresOf: (members, { now }) => {
      const typical = typicalLatency(members)
      return members.map((member) => costOf(member, typical, Number.POSITIVE_INFINITY, now))
    },
    choose: (members, { now, usable }) => {
      const typical = typicalLatency(members)
      return cursor.cheapest(members, usable, (member, least) => costOf(member, typical, least, now))
    }
  }
}

/** Without the failures where it is not below `least` even so. */
const costOf = (member: Member, typical: number, least: number, now: number): number => {
  const { inflight, latency, outcomes } = member.backend.state
  const time = latency.count === 0 ? typical : latency.steady
  const atBest = (time * (inflight + 1)) / weightNow(member, now)
  return atBest >= least ? atBest : atBest / Math.max(0.01, 1 - outcomes.failureRate(now))
}

const typicalLatency = (members: ReadonlyArray<Member>): number => {
  let sum = 0
  let count = 0
  for (const { backend } of members) {
    if (backend.state.latency.count === 0) continue
    sum += backend.state.latency.steady
    count++
  }
  return count === 0 ? assumedLatencyMillis : sum / count
}
