/** A claim on one backend: counted from the moment of the choice, given back exactly once. */
import type { Member } from "../registry/Registry.ts"

export type StickyOutcome = "hit" | "miss" | "moved"

export class Lease {
  readonly member: Member
  /** What became of the session's preference; `undefined` where there was no session. */
  readonly sticky: StickyOutcome | undefined
  #held = true

  constructor(member: Member, sticky: StickyOutcome | undefined) {
    this.member = member
    this.sticky = sticky
    member.backend.state.inflight++
  }

  /** Giving back twice is giving back once: no path out of a request can make a count negative. */
  release(): void {
    if (!this.#held) return
    this.#held = false
    this.member.backend.state.inflight--
  }
}
