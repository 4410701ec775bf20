import type { Member } from "../../registry/Registry.ts"

/**
 * Where the next round among some candidates begins. Each list has turns of its own: requests for one model in
 * between those for another must not take its turns away.
 */
export class RoundRobinCursor {
  readonly #next = new WeakMap<ReadonlyArray<Member>, number>()

  nextOf(members: ReadonlyArray<Member>): number {
    return this.#next.get(members) ?? 0
  }

  /** For a strategy that looks at all of them each time: every round begins one further. */
  take(members: ReadonlyArray<Member>): number {
    const start = this.nextOf(members)
    this.setNext(members, start + 1)
    return start
  }

  /**
   * The usable member with the least cost; what ties takes cursor. `cost` is told the least so far: what cannot be below
   * it need not be worked out.
   */
  cheapest(
    members: ReadonlyArray<Member>,
    usable: (member: Member) => boolean,
    cost: (member: Member, least: number) => number
  ): Member | undefined {
    let best: Member | undefined
    let least = Number.POSITIVE_INFINITY
    const start = this.take(members)
    for (let step = 0; step < members.length; step++) {
      const member = members[(start + step) % members.length]
      if (member === undefined) continue
      const own = cost(member, least)
      if (own < least && usable(member)) {
        best = member
        least = own
      }
    }
    return best
  }

  setNext(members: ReadonlyArray<Member>, position: number): void {
    this.#next.set(members, position < members.length ? position : 0)
  }
}
