import type { Member } from "../../registry/Registry.ts"
import { costNow } from "../SlowStart.ts"
import type { Strategy } from "../Strategy.ts"

/** Draws that may hit an unusable one before all are looked at. */
const tries = 6

/** The less busy of two drawn at random: nearly as good as the least busy of all, whatever their number. */
export const powerOfTwo = (): Strategy => ({
  scoresOf: (members, { now }) => members.map((member) => costNow(member, now)),
  choose: (members, choice) => {
    const one = draw(members, choice.random, choice.usable, undefined)
    if (one === undefined) return undefined
    const other = draw(members, choice.random, choice.usable, one)
    if (other === undefined) return one
    return costNow(other, choice.now) < costNow(one, choice.now) ? other : one
  }
})

const draw = (
  members: ReadonlyArray<Member>,
  random: () => number,
  usable: (member: Member) => boolean,
  except: Member | undefined
): Member | undefined => {
  for (let n = 0; n < tries; n++) {
    const member = members[Math.floor(random() * members.length)]
    if (member !== undefined && member !== except && usable(member)) return member
  }
  const start = Math.floor(random() * members.length)
  for (let n = 0; n < members.length; n++) {
    const member = members[(start + n) % members.length]
    if (member !== undefined && member !== except && usable(member)) return member
  }
  return undefined
}
