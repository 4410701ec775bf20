import type { BackendState, Member } from "../../registry/Registry.ts"
import { PrefixIndex } from "../PrefixIndex.ts"
import type { PromptBlocks } from "../PromptBlocks.ts"
import { costNow } from "../SlowStart.ts"
import type { Choice, Strategy } from "../Strategy.ts"
import { RoundRobinCursor } from "./RoundRobinCursor.ts"

/**
 * The one knob: how much busier than the mean the holder of a whole ordinary prompt may be before it is worth computing
 * that prompt anew elsewhere; 2 means by twice the mean. 0 looks at the load only. Found by the scheduling benchmark:
 * with less, more is computed than need be; with more, the busiest engine has over 1.3 of the mean.
 */
const missWeight = 2

/** With more requests than that at each backend, so many requests count as the mean does: see {@link prefixAware}. */
const crowdedAbove = 8

/** What a new prompt counts in what an ordinary one is. */
const smoothing = 0.05

/**
 * The engine that probably has the longest prefix of this prompt in its cache, weighed against its load.
 *
 * cost = missWeight x (uncached share of the prompt) x (prompt / ordinary prompt) + load / mean load x crowding, where
 * load is (in-flight + 1) / weight, and crowding is 1 up to {@link crowdedAbove} requests each and grows with them from there.
 * All are pure numbers. What was routed is learnt at once, so two requests with one new prefix meet. The holder of a hot
 * prefix is busy then, and the cost sends some to others, which hold it from then on. Without crowding a single prefix
 * that all requests share would be kept by some of many engines until they are full: a ratio to the mean allows more
 * and more requests the busier all are, while computing the prefix once more costs the same as ever.
 */
export const prefixAware = (): Strategy => {
  const index = new PrefixIndex<BackendState>()
  const cursor = new RoundRobinCursor()
  let ordinary = 0
  const learn = ({ backend }: Member, prompt: PromptBlocks | undefined): void => {
    if (prompt !== undefined && prompt.length > 0) index.learn(backend.state, prompt)
  }
  /** What is ordinary once this prompt counts too. */
  const ordinaryWith = (size: number): number => {
    if (size === 0) return ordinary
    return ordinary === 0 ? size : ordinary + smoothing * (size - ordinary)
  }
  const costsFor = (members: ReadonlyArray<Member>, { now, prompt }: Choice, usual: number) => {
    const size = sizeOf(prompt)
    const held = prompt === undefined || size === 0 ? undefined : index.match(prompt)
    const missCost = usual === 0 ? 0 : (missWeight * size) / usual
    const loadCost = loadCostOf(members, now)
    return (member: Member): number => {
      const miss = held === undefined ? 1 : 1 - held(member.backend.state) / size
      return missCost * miss + loadCost * costNow(member, now)
    }
  }
  return {
    scoresOf: (members, choice) => members.map(costsFor(members, choice, ordinaryWith(sizeOf(choice.prompt)))),
    choose: (members, choice) => {
      ordinary = ordinaryWith(sizeOf(choice.prompt))
      return cursor.cheapest(members, choice.usable, costsFor(members, choice, ordinary))
    },
    routed: learn
  }
}

const sizeOf = (prompt: PromptBlocks | undefined): number => (prompt === undefined ? 0 : prompt.length)

/** What a unit of load costs. None is free of load: each counts with the request that it would get. */
const loadCostOf = (members: ReadonlyArray<Member>, now: number): number => {
  let load = 0
  let requests = 0
  for (const member of members) {
    load += costNow(member, now)
    requests += member.backend.state.inflight + 1
  }
  const { length } = members
  return length === 0 ? 1 : (length / load) * Math.max(1, requests / length / crowdedAbove)
}
