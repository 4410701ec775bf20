import type { Member } from "../../registry/Registry.ts"
import { hashText, mix } from "../Hashing.ts"
import { weightNow } from "../SlowStart.ts"
import type { Strategy } from "../Strategy.ts"

/** How far above its fair share of what is in flight a backend may be taken by its keys. */
const loadBound = 1.25

/**
 * The same key, the same backend, on every gateway and without a table: rendezvous hashing, in which each backend bids
 * for the key and a backend that goes or comes moves only its own keys. The load is bounded: who has more than 1.25 of
 * its fair share is passed over for the next best bid.
 *
 * `effect/HashRing` finds the owner of a key, but neither the next one after it nor by load.
 */
export const consistentHash = (): Strategy => {
  const names = new WeakMap<Member, number>()
  const nameOf = (member: Member): number => {
    const known = names.get(member)
    if (known !== undefined) return known
    const made = hashText(member.backend.name)
    names.set(member, made)
    return made
  }
  return {
    choose: (members, { hashKey, now, random, usable }) => {
      const key = hashKey ?? Math.floor(random() * 0xffffffff)
      const share = fairShare(members, now)
      let best: Member | undefined
      let bestBid = -1
      let second: Member | undefined
      let secondBid = -1
      for (const member of members) {
        const bid = bidOf(mix(key ^ nameOf(member)), member.weight)
        if (bid <= bestBid && bid <= secondBid) continue
        if (!usable(member)) continue
        const weight = weightNow(member, now)
        const isFree = member.backend.state.inflight + 1 <= Math.ceil(loadBound * share * weight)
        if (isFree && bid > bestBid) {
          best = member
          bestBid = bid
        } else if (!isFree && bid > secondBid) {
          second = member
          secondBid = bid
        }
      }
      return best ?? second
    }
  }
}

/** What one unit of weight would have in flight, with the request that is to be placed. */
const fairShare = (members: ReadonlyArray<Member>, now: number): number => {
  let inflight = 1
  let weight = 0
  for (const member of members) {
    inflight += member.backend.state.inflight
    weight += weightNow(member, now)
  }
  return weight === 0 ? 1 : inflight / weight
}

/** Weighted rendezvous hashing: a weight of two wins twice as many keys. */
const bidOf = (hash: number, weight: number): number => {
  const uniform = (hash + 0.5) / 0x1_0000_0000
  return weight === 1 ? -1 / Math.log(uniform) : -weight / Math.log(uniform)
}
