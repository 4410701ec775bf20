/**
 * How a part of the gateway keeps up with the configuration, in three ways:
 *
 * - what only needs a value from the configuration in force derives it, at the first use after a change: `derived`;
 * - what has something to do at each change follows: `registry.follow`;
 * - what may be unable to follow takes part, and can refuse a change before it is in force: `registry.participate`.
 */
import { type Cause, Effect, Schema } from "effect"
import type { GatewayConfig } from "../domain/GatewayConfig.ts"
import type { Snapshot } from "./Snapshot.ts"

/** Why a valid configuration cannot be put into force here and now. `path` is written as in `listeners[1].port`. */
export class ChangeRefused extends Schema.TaggedError<ChangeRefused>()("ChangeRefused", {
  problems: Schema.Array(Schema.Struct({ path: Schema.String, message: Schema.String }))
}) {
  override get message(): string {
    return this.problems.map(({ message, path }) => `${path}: ${message}`).join("\n")
  }
}

/** What a part has made ready for a configuration; exactly one of the two is run. */
export interface PreparedChange {
  /** The configuration is in force now. */
  readonly commit: (snapshot: Snapshot) => Effect.Effect<void>
  /** It will not be: another part cannot follow, or the store cannot keep it. */
  readonly abort: Effect.Effect<void>
}

/** Makes ready for a configuration, or says why that cannot be. */
export type Prepare = (next: GatewayConfig) => Effect.Effect<PreparedChange, ChangeRefused>

/** What a part does with a snapshot that is in force now. */
export type Follow = (snapshot: Snapshot) => Effect.Effect<void>

/** Asks all of them. Where one cannot follow, those that are ready already are told that nothing comes of it. */
export const prepareAll = Effect.fnUntraced(function* (participants: ReadonlySet<Prepare>, next: GatewayConfig) {
  const ready: Array<PreparedChange> = []
  for (const prepare of participants) ready.push(yield* Effect.onError(prepare(next), () => abortAll(ready)))
  return ready
})

export const abortAll = (ready: ReadonlyArray<PreparedChange>): Effect.Effect<void> =>
  Effect.forEach(ready.toReversed(), ({ abort }) => unhindered(abort), { discard: true })

/** The followers first: what a participant opens is served with what they have made of the configuration. */
export const commitAll = (
  followers: ReadonlySet<Follow>,
  ready: ReadonlyArray<PreparedChange>,
  snapshot: Snapshot
): Effect.Effect<void> =>
  Effect.forEach(
    [...followers, ...ready.map(({ commit }) => commit)],
    (follow) => unhindered(Effect.suspend(() => follow(snapshot))),
    { discard: true }
  )

/** The configuration is in force (or is not), whatever goes wrong in one part: the others are told all the same. */
const unhindered = (part: Effect.Effect<void>): Effect.Effect<void> => Effect.catchCause(part, logDefect)

const logDefect = (cause: Cause.Cause<never>) =>
  Effect.logError("a part of the gateway could not follow a change of the configuration", cause)

/**
 * A value that is made of the configuration in force, anew at the first use after a change. Plain and synchronous, and
 * never older than the snapshot: for what requests ask for.
 */
export const derived = <A>(current: () => Snapshot, of: (snapshot: Snapshot) => A): (() => A) => {
  let seen = current()
  let value = of(seen)
  return () => {
    const snapshot = current()
    if (snapshot !== seen) {
      value = of(snapshot)
      seen = snapshot
    }
    return value
  }
}

/**
 * For what a part keeps by the names of pools or keys, to be called at each change: what the configuration in force has
 * no more is forgotten, unless it is in use. That one is the part's to forget, once it is not.
 */
export const forgetGone = <A>(
  kept: Map<string, A>,
  inForce: { readonly has: (name: string) => boolean },
  isInUse: (one: A) => boolean = () => false
): void => {
  for (const [name, one] of kept) if (!inForce.has(name) && !isInUse(one)) kept.delete(name)
}
