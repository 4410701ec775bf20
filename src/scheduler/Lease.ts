/** A claim on one backend: counted from the moment of the choice, given back exactly once. */
import type { Member } from "../registry/Registry.ts"

export type StickyOutcome = "hit" | "miss" | "moved"

export class Lease {
  readonly member: Member
  /** What became of the session's preference; `undefined` where there was no session. */
  readonly sticky: StickyOutcome | undefined
  /** The instance of the model that is to be asked for, by its name; `undefined` where there is none to choose. */
  readonly instance: string | undefined
  /** Whether it is on a backend that is out, since nothing else is left. */
  readonly isLastResort: boolean
  #held = true

  constructor(member: Member, sticky: StickyOutcome | undefined, instance: string | undefined, isLastResort = false) {
    this.member = member
    this.sticky = sticky
    this.instance = instance
    this.isLastResort = isLastResort
    const { state } = member.backend
    state.inflight++
    if (isLastResort) state.lastResorts++
    if (instance !== undefined) state.instances.set(instance, (state.instances.get(instance) ?? 0) + 1)
  }

  /** Giving back twice is giving back once: no path out of a request can make a count negative. */
  release(): void {
    if (!this.#held) return
    this.#held = false
    const { state } = this.member.backend
    state.inflight--
    if (this.isLastResort) state.lastResorts--
    if (this.instance === undefined) return
    const left = (state.instances.get(this.instance) ?? 1) - 1
    // Only what is in use is kept: the names are the backend's, and may change.
    if (left > 0) state.instances.set(this.instance, left)
    else state.instances.delete(this.instance)
  }
}
