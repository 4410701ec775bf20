/** Why a configuration cannot be used: every problem at once, each with the place it is about. */
import { Schema } from "effect"
import { escapeActing, scrub } from "../telemetry/Telemetry.ts"

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

/**
 * Every problem, without credentials and control characters that stand in what it quotes: a name may be an address that
 * was written in the wrong place.
 */
export const configInvalid = (source: string, problems: ReadonlyArray<Problem>): ConfigInvalid =>
  new ConfigInvalid({
    source,
    problems: problems.map(({ message, path, ...rest }) => ({
      ...rest,
      path: escapeActing(scrub(path)),
      message: escapeActing(scrub(message))
    }))
  })

/** `backends[2].url: expected an address (line 12)`. */
export const formatProblem = ({ line, message, path }: Problem): string =>
  `${path === "" ? "" : `${path}: `}${message}${line === undefined ? "" : ` (line ${line})`}`

/** Keys and indices as the contract writes them. */
export const formatPath = (path: ReadonlyArray<PropertyKey>): string =>
  path.reduce<string>(
    (text, key) => (typeof key === "number" ? `${text}[${key}]` : text === "" ? String(key) : `${text}.${String(key)}`),
    ""
  )
