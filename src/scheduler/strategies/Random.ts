import type { Member } from "../../registry/Registry.ts"
import { weightNow } from "../SlowStart.ts"
import type { Choice, Strategy } from "../Strategy.ts"

/** Draws that may hit an unusable one before those are left out of the draw. */
const tries = 3

/** Any of them, in proportion to the weights. */
export const random = (): Strategy => ({
  choose: (members, choice) => {
    for (let n = 0; n < tries; n++) {
      const member = drawn(members, choice, () => true)
      if (member === undefined || choice.usable(member)) return member
    }
    return drawn(members, choice, choice.usable)
  }
})

const drawn = (
  members: ReadonlyArray<Member>,
  { now, random: draw }: Choice,
  counts: (member: Member) => boolean
): Member | undefined => {
  let total = 0
  for (const member of members) if (counts(member)) total += weightNow(member, now)
  let left = draw() * total
  let last: Member | undefined
  for (const member of members) {
    if (!counts(member)) continue
    left -= weightNow(member, now)
    if (left < 0) return member
    last = member
  }
  return last
}
