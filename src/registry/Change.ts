/** How those who must be able to follow a change take part in it. */
import { type Effect, Schema } from "effect"
import type { Snapshot } from "./Snapshot.ts"

/** Why a valid configuration cannot be put into force here and now. `path` is written as in `listeners[1].port`. */
export class ChangeRefused extends Schema.TaggedError<ChangeRefused>()("ChangeRefused", {
  problems: Schema.Array(Schema.Struct({ path: Schema.String, message: Schema.String }))
}) {
  override get message(): string {
    return this.problems.map(({ message, path }) => `${path}: ${message}`).join("\n")
  }
}

/** What somebody has made ready for a configuration; exactly one of the two is run. */
export interface PreparedChange {
  /** The configuration is in force now. */
  readonly commit: (snapshot: Snapshot) => Effect.Effect<void>
  /** It will not be: somebody else could not follow. */
  readonly abort: Effect.Effect<void>
}
