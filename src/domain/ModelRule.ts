/** A model rule: what happens to requests for the models whose whole name matches a regular expression. */
import { Result, Schema } from "effect"
import { doc, orElse } from "./Fields.ts"
import { compileRegExp } from "./LinearRegExp.ts"
import { Name } from "./Names.ts"
import { flag } from "./Settings.ts"

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
    ),
    doc("A regular expression; the rule is for models whose whole name it matches.", { examples: ["qwen2\\.5-.*"] })
  ),
  pool: Schema.optionalKey(Name).pipe(
    doc("The pool that serves these models.", { examples: ["big"], absent: "the one of the route or the listener" })
  ),
  backends: Schema.optionalKey(
    Schema.Array(Name).pipe(
      Schema.check(
        Schema.makeFilter((list) => (list.length > 0 ? undefined : "a rule needs at least one backend"), {
          toJsonSchema: () => ({ minItems: 1 })
        })
      )
    )
  ).pipe(
    doc("The backends that serve these models. A rule has either these or a pool.", {
      examples: [["gpu-1", "gpu-2"]],
      absent: "those of the pool"
    })
  ),
  instances: flag.pipe(
    orElse(false),
    doc("`m-2`, `m-3` … are further instances of `m` on the same backend: the free one is asked, by its own name.", {
      examples: [true]
    })
  ),
  upstreamModel: Schema.optionalKey(Schema.NonEmptyString).pipe(
    doc("The name under which backends know the model.", {
      examples: ["qwen2.5-72b"],
      absent: "the name that the client asked for"
    })
  ),
  fallbacks: Schema.Array(Schema.NonEmptyString).pipe(
    orElse([]),
    doc("Models that are asked for instead, in this order, where no backend has the first or can take the request.", {
      examples: [["qwen2.5-7b"]]
    })
  ),
  gptOss: flag.pipe(
    orElse(false),
    doc(
      "For the gpt-oss family: `-low`, `-medium` and `-high` at the end of a name ask for an effort of reasoning, " +
        "`-apply` and `-edit` for a job of continue.dev; and requests of Cline and Roo are made to fit.",
      { examples: [true] }
    )
  ),
  tools: Schema.optionalKey(
    Schema.Struct({
      parser: ToolParser.pipe(
        doc("The parser of tool calls, named as vLLM names it. `none`: a request with tools is refused.", {
          examples: ["none", "hermes"]
        })
      )
    })
  ).pipe(
    doc("How the models call tools.", { examples: [{ parser: "none" }], absent: "requests with tools are passed on" })
  )
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
