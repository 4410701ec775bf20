/** What of a listener's paths may be passed through to an engine, besides the endpoints of inference. */
import { Result, Schema } from "effect"
import { parsePathPattern } from "./PathPattern.ts"

const problemOf = (path: string): string | undefined => {
  const parsed = parsePathPattern(path)
  return Result.isFailure(parsed) ? parsed.failure : undefined
}

/** A path, or a pattern of paths. */
export const PathText = Schema.String.pipe(
  Schema.check(
    Schema.makeFilter((path) => (path.startsWith("/") ? problemOf(path) : "expected a path that begins with /"), {
      toJsonSchema: () => [{ pattern: "^/" }, true]
    })
  )
)

/**
 * `safe`: all paths but those that administer an engine; `all`: those too; `none`: no other than the endpoints. A list of
 * patterns: as `safe`, and what matches one of them.
 */
export const PassThrough = Schema.Union([Schema.Literals(["safe", "all", "none"]), Schema.Array(PathText)])
export type PassThrough = typeof PassThrough.Type
