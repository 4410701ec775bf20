import type { Member } from "../../registry/Registry.ts"

/**
 * Looking at everybody costs more than choosing. Up to so many candidates that is done for each choice, in larger pools
 * for every second, third, … of them: who is chosen is looked at in any case.
 */
const lookedAtEachTime = 64

/** Numbers for some candidates, in their order. */
interface Ledger {
  /** What each gains in a round; nothing where it cannot be used. */
  readonly shares: Float64Array
  /** What each has gained, less what it has paid. */
  readonly credits: Float64Array
  /** Choices until everybody is looked at again. */
  left: number
}

/**
 * Smooth weighted round robin: every round each usable member gains its share, the richest is chosen and pays the sum
 * of all. Shares of 5, 1, 1 give a a b a c a a, not five in a row. Each list of candidates has turns of its own.
 */
export class SmoothTurns {
  readonly #ledgers = new WeakMap<ReadonlyArray<Member>, Ledger>()

  /** Whether {@link next} is going to look at everybody. */
  isDue(members: ReadonlyArray<Member>): boolean {
    return this.#ledgerOf(members).left <= 0
  }

  /** `share`: more than 0; asked for when everybody is looked at. */
  next(
    members: ReadonlyArray<Member>,
    usable: (member: Member) => boolean,
    share: (member: Member) => number
  ): Member | undefined {
    const ledger = this.#ledgerOf(members)
    const isDue = ledger.left <= 0
    if (isDue) renew(ledger, members, usable, share)
    ledger.left--
    const chosen = richestOf(ledger, members, usable)
    if (chosen >= 0) pay(ledger, chosen)
    else if (!isDue) {
      ledger.left = 0
      return this.next(members, usable, share)
    }
    return members[chosen]
  }

  #ledgerOf(members: ReadonlyArray<Member>): Ledger {
    const known = this.#ledgers.get(members)
    if (known !== undefined) return known
    const { length } = members
    const made = { shares: new Float64Array(length), credits: new Float64Array(length), left: 0 }
    this.#ledgers.set(members, made)
    return made
  }
}

const renew = (
  ledger: Ledger,
  members: ReadonlyArray<Member>,
  usable: (member: Member) => boolean,
  share: (member: Member) => number
): void => {
  let position = 0
  for (const member of members) ledger.shares[position++] = usable(member) ? share(member) : 0
  ledger.left = Math.ceil(members.length / lookedAtEachTime)
}

/** Who turns out not to be usable any more is left out until everybody is looked at again. */
const richestOf = (
  { credits, shares }: Ledger,
  members: ReadonlyArray<Member>,
  usable: (member: Member) => boolean
): number => {
  for (;;) {
    let richest = -1
    let most = Number.NEGATIVE_INFINITY
    for (let position = 0; position < shares.length; position++) {
      const share = shares[position] ?? 0
      const credit = (credits[position] ?? 0) + share
      if (share === 0 || credit <= most) continue
      most = credit
      richest = position
    }
    const member = members[richest]
    if (member === undefined || usable(member)) return richest
    shares[richest] = 0
  }
}

const pay = ({ credits, shares }: Ledger, chosen: number): void => {
  let total = 0
  for (let position = 0; position < shares.length; position++) {
    const share = shares[position] ?? 0
    credits[position] = (credits[position] ?? 0) + share
    total += share
  }
  credits[chosen] = (credits[chosen] ?? 0) - total
}
