import type { Member } from "../../registry/Registry.ts"

/**
 * Looking at all costs more than choosing. Up to so many candidates that is done for each choice, in larger pools
 * for every second, third, … of them: the one that is chosen is looked at in any case.
 */
const maxRenewedEachTime = 64

/** Numbers for some candidates, in their order. */
interface Credits {
  /** What each gains in a round; nothing where it cannot be used. */
  readonly shares: Float64Array
  /** What each has gained, less what was taken from it. */
  readonly credits: Float64Array
  /** Choices until all are looked at again. */
  left: number
}

/**
 * Smooth weighted round robin: every round each usable member gains its share, the one with the most is chosen, and the sum of all is taken
 * from it. Shares of 5, 1, 1 give a a b a c a a, not five in a row. Each list of candidates has numbers of its own.
 */
export class SmoothWeightedRoundRobin {
  readonly #numbers = new WeakMap<ReadonlyArray<Member>, Credits>()

  /** Whether {@link next} is going to look at all. */
  isDue(members: ReadonlyArray<Member>): boolean {
    return this.#numbersOf(members).left <= 0
  }

  /** `share`: more than 0; asked for when all are looked at. */
  next(
    members: ReadonlyArray<Member>,
    usable: (member: Member) => boolean,
    share: (member: Member) => number
  ): Member | undefined {
    const numbers = this.#numbersOf(members)
    const isDue = numbers.left <= 0
    if (isDue) renew(numbers, members, usable, share)
    numbers.left--
    const chosen = nextOf(numbers, members, usable)
    if (chosen >= 0) charge(numbers, chosen)
    else if (!isDue) {
      numbers.left = 0
      return this.next(members, usable, share)
    }
    return members[chosen]
  }

  /** What {@link next} compares, less being better: the negative of what each has gained, with its share of this round. */
  scores(members: ReadonlyArray<Member>, share: (member: Member) => number): ReadonlyArray<number> {
    const { credits, left, shares } = this.#numbersOf(members)
    return members.map((member, position) => {
      const known = left > 0 ? (shares[position] ?? 0) : 0
      return 0 - (credits[position] ?? 0) - (known > 0 ? known : share(member))
    })
  }

  #numbersOf(members: ReadonlyArray<Member>): Credits {
    const known = this.#numbers.get(members)
    if (known !== undefined) return known
    const { length } = members
    const made = { shares: new Float64Array(length), credits: new Float64Array(length), left: 0 }
    this.#numbers.set(members, made)
    return made
  }
}

const renew = (
  numbers: Credits,
  members: ReadonlyArray<Member>,
  usable: (member: Member) => boolean,
  share: (member: Member) => number
): void => {
  let position = 0
  for (const member of members) numbers.shares[position++] = usable(member) ? share(member) : 0
  numbers.left = Math.ceil(members.length / maxRenewedEachTime)
}

/** One that turns out not to be usable any more is left out until all are looked at again. */
const nextOf = (
  { credits, shares }: Credits,
  members: ReadonlyArray<Member>,
  usable: (member: Member) => boolean
): number => {
  for (;;) {
    let next = -1
    let most = Number.NEGATIVE_INFINITY
    for (let position = 0; position < shares.length; position++) {
      const share = shares[position] ?? 0
      const credit = (credits[position] ?? 0) + share
      if (share === 0 || credit <= most) continue
      most = credit
      next = position
    }
    const member = members[next]
    if (member === undefined || usable(member)) return next
    shares[next] = 0
  }
}

const charge = ({ credits, shares }: Credits, chosen: number): void => {
  let total = 0
  for (let position = 0; position < shares.length; position++) {
    const share = shares[position] ?? 0
    credits[position] = (credits[position] ?? 0) + share
    total += share
  }
  credits[chosen] = (credits[chosen] ?? 0) - total
}
