import { memoize } from "effect/Function"
import type { Member } from "../../registry/Registry.ts"
import { hashText, mix } from "../Hashing.ts"
import { weightNow } from "../SlowStart.ts"
import type { Strategy } from "../Strategy.ts"

/** How far above its fair share of what is in flight a backend may be taken by its keys. */
const loadBound = 1.25

/** More than any score of a weight of 1 and more, so that those above their share come after all others. */
const aboveShare = 32

/**
 * The same key, the same backend, on every gateway and without a table: rendezvous hashing, in which each backend bids
 * for the key and a backend that goes or comes moves only its own keys. The load is bounded: one that has more than 1.25 of
 * its fair share is passed over for the next best bid.
 *
 * `effect/HashRing` finds the owner of a key, but neither the next one after it nor by load.
 */
export const consistentHash = (): Strategy => {
  const namesOf = memoize((members: ReadonlyArray<Member>) =>
    Int32Array.from(members, ({ backend }) => hashText(backend.name))
  )
  return {
    scoresOf: (members, { hashKey, now }) => {
      // Without one, a key is drawn for each choice.
      if (hashKey === undefined) return members.map(() => undefined)
      const share = fairShare(members, now)
      const hashes = namesOf(members)
      return members.map((member, position) => {
        const score = 1 / bidOf(uniformOf(hashKey, hashes[position] ?? 0), member.weight)
        return isBelowShare(member, share, now) ? score : aboveShare + score
      })
    },
    choose: (members, { hashKey, now, random, usable }) => {
      const key = hashKey ?? Math.floor(random() * 0xffffffff)
      const share = fairShare(members, now)
      const hashes = namesOf(members)
      let best: Member | undefined
      let bestBid = 0
      let full: Member | undefined
      let fullBid = 0
      for (let position = 0; position < members.length; position++) {
        const member = members[position]
        if (member === undefined) continue
        const uniform = uniformOf(key, hashes[position] ?? 0)
        // No bid is higher than that, and most need not be worked out.
        if (member.weight / (1 - uniform) <= bestBid) continue
        const bid = bidOf(uniform, member.weight)
        const isFree = isBelowShare(member, share, now)
        if (bid <= (isFree ? bestBid : fullBid) || !usable(member)) continue
        if (isFree) {
          best = member
          bestBid = bid
        } else {
          full = member
          fullBid = bid
        }
      }
      return best ?? full
    }
  }
}

/** Between 0 and 1, neither of them: the same for the same key and backend. */
const uniformOf = (key: number, name: number): number => (mix(key ^ name) + 0.5) / 0x1_0000_0000

const isBelowShare = (member: Member, share: number, now: number): boolean =>
  member.backend.state.inflight + 1 <= Math.ceil(loadBound * share * weightNow(member, now))

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
const bidOf = (uniform: number, weight: number): number => -weight / Math.log(uniform)
