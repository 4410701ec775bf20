import type { Member } from "../../registry/Registry.ts"

/**
 * Where the next round among some candidates begins. Each list has turns of its own: requests for one model in
 * between those for another must not take its turns away.
 */
export class Turns {
  readonly #next = new WeakMap<ReadonlyArray<Member>, number>()

  nextOf(members: ReadonlyArray<Member>): number {
    return this.#next.get(members) ?? 0
  }

  /** For who looks at all of them each time: every round begins one further. */
  take(members: ReadonlyArray<Member>): number {
    const start = this.nextOf(members)
    this.setNext(members, start + 1)
    return start
  }

  setNext(members: ReadonlyArray<Member>, position: number): void {
    this.#next.set(members, position < members.length ? position : 0)
  }
}
