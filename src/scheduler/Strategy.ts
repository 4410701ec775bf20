/** The one interface behind which every way of choosing stands. */
import type { Member } from "../registry/Registry.ts"
import type { PromptBlocks } from "./PromptBlocks.ts"

/** What a strategy may know when it chooses. */
export interface Choice {
  /** Monotonic milliseconds. */
  readonly now: number
  /** Whether this member can take the request now: standing, circuit, rest, capacity, and not tried before. */
  readonly usable: (member: Member) => boolean
  /** 0 to 1, never 1. */
  readonly random: () => number
  /** What `consistent_hash` goes by; `undefined` where the request has nothing to go by. */
  readonly hashKey: number | undefined
  /** What `prefix_aware` goes by; `undefined` where the request has no prompt. */
  readonly prompt: PromptBlocks | undefined
}

/** One instance serves one pool and may keep state between choices. */
export interface Strategy {
  /**
   * The member that gets the request, or `undefined` where none is usable. `members` are of one priority tier, in
   * configured order; the same array object stands for the same candidates. Must not allocate what lives on.
   */
  readonly choose: (members: ReadonlyArray<Member>, choice: Choice) => Member | undefined
  /**
   * What it compares members by, in their order, less being better; `undefined` for one that it compares by no number.
   * Changes nothing, and is asked off the path of requests.
   */
  readonly scoresOf?: (members: ReadonlyArray<Member>, choice: Choice) => ReadonlyArray<number | undefined>
  /** A member got the request, by a choice or as its session's own: for a strategy that learns from what is routed. */
  readonly routed?: (member: Member, prompt: PromptBlocks | undefined) => void
}
