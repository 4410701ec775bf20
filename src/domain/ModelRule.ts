/** A model rule: what happens to requests for the models whose whole name matches a regular expression. */
import { Result, Schema } from "effect"
import { compileRegExp } from "./LinearRegExp.ts"
import { Name } from "./Names.ts"
import { flag, orElse } from "./Settings.ts"

/** The tool-call parsers of the engines, named as vLLM names them; `none`: the model cannot call tools. */
export const ToolParser = Schema.NonEmptyString

/** One rule as a configuration describes it. Rules are tried in order; the first that matches decides. */
export const ModelRule = Schema.Struct({
  match: Schema.NonEmptyString.pipe(
    Schema.check(
      Schema.makeFilter((source) => {
        const compiled = compileRegExp(source)
        return Result.isFailure(compiled) ? compiled.failure : undefined
      })
    )
  ),
  pool: Schema.optionalKey(Name),
  backends: Schema.optionalKey(
    Schema.Array(Name).pipe(
      Schema.check(Schema.makeFilter((list) => (list.length > 0 ? undefined : "a rule needs at least one backend")))
    )
  ),
  instances: flag.pipe(orElse(false)),
  upstreamModel: Schema.optionalKey(Schema.NonEmptyString),
  fallbacks: Schema.Array(Schema.NonEmptyString).pipe(orElse([])),
  /** For models of the gpt-oss family: efforts and jobs in their names, and what Cline and Roo need of them. */
  gptOss: flag.pipe(orElse(false)),
  tools: Schema.optionalKey(Schema.Struct({ parser: ToolParser }))
}).pipe(
  Schema.check(
    Schema.makeFilter((rule) =>
      rule.pool !== undefined && rule.backends !== undefined
        ? "a rule has either a pool or backends, not both"
        : undefined
    )
  )
)
export type ModelRule = typeof ModelRule.Type

/** The one name that an expression stands for, if it is a name and no more; a dot in it is meant as a dot. */
export const literalName = (match: string): string | undefined =>
  /^(?:[\w\-:@/ ]|\\[^\w]|\.(?![*+?{]))+$/.test(match) ? match.replaceAll(/\\(.)/g, "$1") : undefined
