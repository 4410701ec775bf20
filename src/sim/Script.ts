/** A stream as a list of steps, and what each fault does to it. Pure: the engine's time and the wire come later. */
import { Duration } from "effect"
import type { Events } from "./dialects/Dialect.ts"
import type { Job } from "./Engine.ts"
import { placeIn, type RequestFault } from "./Faults.ts"

export type Step =
  /** Wait until the engine has one more token. */
  | { readonly _tag: "AwaitToken" }
  | { readonly _tag: "Write"; readonly text: string }
  /** Send what was written and destroy the connection: this one's, or all of the instance. */
  | { readonly _tag: "Break"; readonly all: boolean }

const awaitToken: Step = { _tag: "AwaitToken" }
const write = (text: string): Step => ({ _tag: "Write", text })

/** A line of a stream that is no JSON. */
export const brokenEvent = 'data: {"id":"chatcmpl-broken","choices":[{"delta":{"content":"\n\n'

/**
 * The steps of a stream of `total` tokens. A list that does not end in `Break` ends the response properly.
 *
 * - `cut`: the connection is destroyed after some tokens; `die`: with it all others of the instance
 * - `cut_before_done`: as `cut`, but after everything except the last mark
 * - `clean_cut`: the response ends properly, but after some tokens; `no_done`: only the last mark is missing
 * - `malformed`: one event of broken JSON after some tokens
 */
export const scriptOf = (events: Events, total: number, fault: RequestFault | undefined): ReadonlyArray<Step> => {
  const tokens = (from: number, to: number): ReadonlyArray<Step> =>
    Array.from({ length: to - from }, (_, index) => [awaitToken, ...events.token(from + index).map(write)]).flat()
  const open = events.open.map(write)
  const finish = events.finish.map(write)
  const done = events.done.map(write)
  switch (fault?.kind) {
    case "cut":
    case "die":
      return [...open, ...tokens(0, placeIn(fault, total)), { _tag: "Break", all: fault.kind === "die" }]
    case "clean_cut":
      return [...open, ...tokens(0, placeIn(fault, total))]
    case "cut_before_done":
      return [...open, ...tokens(0, total), ...finish, { _tag: "Break", all: false }]
    case "no_done":
      return [...open, ...tokens(0, total), ...finish]
    case "malformed": {
      const at = placeIn(fault, total)
      return [...open, ...tokens(0, at), write(brokenEvent), ...tokens(at, total), ...finish, ...done]
    }
    default:
      return [...open, ...tokens(0, total), ...finish, ...done]
  }
}

/** The faults that are the engine's: `slow_first_token`, and `stall` in the middle of `total` streamed tokens. */
export const pauseOf = (fault: RequestFault | undefined, total: number, stream: boolean): Job["pause"] => {
  if (fault?.kind === "slow_first_token") return { after: 0, millis: Duration.toMillis(fault.delay) }
  if (fault?.kind !== "stall" || !stream) return undefined
  const millis = fault.for === undefined ? Number.POSITIVE_INFINITY : Duration.toMillis(fault.for)
  return { after: placeIn(fault, total), millis }
}
