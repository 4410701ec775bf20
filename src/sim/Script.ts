/** A stream as a series of steps, and what each fault does to it. Pure: the engine's time and the wire come later. */
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
 * The steps of a stream of `total` tokens, made as they are asked for. A list that does not end in `Break` ends the
 * response properly.
 *
 * - `cut`: the connection is destroyed after some tokens; `die`: with it all others of the instance
 * - `cut_before_done`: as `cut`, but after everything except the last mark
 * - `clean_cut`: the response ends properly, but after some tokens; `no_done`: only the last mark is missing
 * - `malformed`: one event of broken JSON after some tokens
 */
export function* scriptOf(events: Events, total: number, fault: RequestFault | undefined): Generator<Step, void> {
  yield* writeAll(events.open)
  switch (fault?.kind) {
    case "cut":
    case "die":
      yield* tokens(events, 0, placeIn(fault, total))
      return yield { _tag: "Break", all: fault.kind === "die" }
    case "clean_cut":
      return yield* tokens(events, 0, placeIn(fault, total))
    case "malformed": {
      const at = placeIn(fault, total)
      yield* tokens(events, 0, at)
      yield write(brokenEvent)
      yield* tokens(events, at, total)
      break
    }
    default:
      yield* tokens(events, 0, total)
  }
  yield* writeAll(events.finish)
  if (fault?.kind === "no_done") return
  if (fault?.kind === "cut_before_done") return yield { _tag: "Break", all: false }
  yield* writeAll(events.done)
}

function* writeAll(texts: ReadonlyArray<string>): Generator<Step, void> {
  for (const text of texts) yield write(text)
}

function* tokens(events: Events, from: number, to: number): Generator<Step, void> {
  for (let index = from; index < to; index++) {
    yield awaitToken
    yield* writeAll(events.token(index))
  }
}

/** The faults that are the engine's: `slow_first_token`, and `stall` in the middle of `total` streamed tokens. */
export const pauseOf = (fault: RequestFault | undefined, total: number, stream: boolean): Job["pause"] => {
  if (fault?.kind === "slow_first_token") return { after: 0, millis: Duration.toMillis(fault.delay) }
  if (fault?.kind !== "stall" || !stream) return undefined
  const millis = fault.for === undefined ? Number.POSITIVE_INFINITY : Duration.toMillis(fault.for)
  return { after: placeIn(fault, total), millis }
}
