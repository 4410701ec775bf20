/** A claim on one backend: counted from the moment of the choice, given back exactly once. */
import type { Capacity, Claim, Member } from "../registry/Registry.ts"

export type StickyOutcome = "hit" | "miss" | "moved"

export interface LeaseOptions {
  /** What became of the session's preference; `undefined` where there was no session. */
  readonly sticky: StickyOutcome | undefined
  /** The instance of the model that is to be asked for, by its name; `undefined` where there is none to choose. */
  readonly instance: string | undefined
  /** Whether it is on a backend that is out, since nothing else is left. */
  readonly isLastResort: boolean
}

export class Lease implements LeaseOptions {
  readonly member: Member
  readonly sticky: StickyOutcome | undefined
  readonly instance: string | undefined
  readonly isLastResort: boolean
  #claim: Claim | undefined

  constructor(member: Member, claim: Claim, { instance, isLastResort, sticky }: LeaseOptions) {
    this.member = member
    this.sticky = sticky
    this.instance = instance
    this.isLastResort = isLastResort
    this.#claim = claim
    const { state } = member.backend
    if (isLastResort) state.lastResorts++
    if (instance !== undefined) state.instances.set(instance, (state.instances.get(instance) ?? 0) + 1)
  }

  /** `undefined` where the last place was taken since it was looked for. */
  static take(capacity: Capacity["Service"], member: Member, options: LeaseOptions): Lease | undefined {
    const claim = capacity.tryTake(member.backend)
    return claim && new Lease(member, claim, options)
  }

  /** Giving back twice is giving back once: no path out of a request can make a count negative. */
  release(): void {
    if (this.#claim === undefined) return
    this.#claim.release()
    this.#claim = undefined
    const { state } = this.member.backend
    if (this.isLastResort) state.lastResorts--
    if (this.instance === undefined) return
    const left = (state.instances.get(this.instance) ?? 1) - 1
    // Only what is in use is kept: the names are the backend's, and may change.
    if (left > 0) state.instances.set(this.instance, left)
    else state.instances.delete(this.instance)
  }
}
