import { freshLoad } from "../../domain/Health.ts"
import type { Member } from "../../registry/Registry.ts"
import { weightNow } from "../SlowStart.ts"
import type { Strategy } from "../Strategy.ts"
import { RoundRobinCursor } from "./RoundRobinCursor.ts"

/** From this share of the KV cache on, an engine begins to preempt and recompute what it has; or of its GPU, to slow. */
const tight = 0.8

/**
 * The engine with the least to do by its own account, per weight: what is running and waiting there, from us or from
 * any other client, with what we sent since it was read. A request that has to wait counts twice: an engine that was seen to be full is
 * known to have no more slots than it had then. A nearly full KV cache or GPU makes all count up to twice as much.
 */
export const leastLoaded = (): Strategy => {
  const cursor = new RoundRobinCursor()
  return {
    scoresOf: (members, { now }) => members.map((member) => loadOf(member, now)),
    choose: (members, { now, usable }) => cursor.cheapest(members, usable, (member) => loadOf(member, now))
  }
}

const loadOf = (member: Member, now: number): number => {
  const { inflight, load, slots } = member.backend.state
  const weight = weightNow(member, now)
  const fresh = freshLoad(load, now)
  if (fresh === undefined) return (inflight + 1) / weight
  const requests = inflight + fresh.foreign + 1
  const waiting = Math.max(0, requests - slots)
  const usage = Math.max(fresh.kvCacheUsage, fresh.gpuUsage ?? 0)
  return ((requests + waiting) * (1 + Math.max(0, usage - tight) / (1 - tight))) / weight
}
