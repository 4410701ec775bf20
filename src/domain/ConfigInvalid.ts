/** Why a configuration cannot be used: every problem at once, each with the place it is about. */
import { Schema } from "effect"

/** One thing that is wrong. `path` is written as in `backends[2].url`; the name of a variable; or empty: the whole. */
export const Problem = Schema.Struct({
  path: Schema.String,
  message: Schema.String,
  line: Schema.optionalKey(Schema.Int)
})
export type Problem = typeof Problem.Type

export class ConfigInvalid extends Schema.TaggedError<ConfigInvalid>()("ConfigInvalid", {
  /** The file, or `environment`. */
  source: Schema.String,
  problems: Schema.Array(Problem)
}) {
  override get message(): string {
    return this.problems.map(formatProblem).join("\n")
  }
}

/** `backends[2].url: expected an address (line 12)`. */
export const formatProblem = ({ line, message, path }: Problem): string =>
  `${path === "" ? "" : `${path}: `}${message}${line === undefined ? "" : ` (line ${line})`}`
