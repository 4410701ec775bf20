/**
 * The paths of `listeners[].routes`: `/a/b` as it stands, `/a/:name` one segment, `/a/{name:regex}` one segment of a
 * form, `/a/*` followed by more: one segment, and at the end: the rest, however many segments that are.
 */
import { Result } from "effect"
import { compileRegExp, type LinearRegExp } from "./LinearRegExp.ts"

export type Segment =
  | { readonly kind: "static"; readonly text: string }
  | { readonly kind: "constrained"; readonly source: string; readonly regexp: LinearRegExp }
  | { readonly kind: "free" }
  | { readonly kind: "rest" }

export interface PathPattern {
  readonly source: string
  readonly segments: ReadonlyArray<Segment>
}

/** The pattern, or what is wrong with it. */
export const parsePathPattern = (source: string): Result.Result<PathPattern, string> => {
  const texts = splitSegments(source)
  if (texts === undefined) return Result.fail("a brace is not closed")
  const segments: Array<Segment> = []
  for (const [index, text] of texts.entries()) {
    const segment = parseSegment(text, index === texts.length - 1)
    if (Result.isFailure(segment)) return Result.fail(segment.failure)
    segments.push(segment.success)
  }
  return Result.succeed({ source, segments })
}

/** What two patterns share that match exactly the same paths. */
export const shapeOf = ({ segments }: PathPattern): string =>
  segments
    .map((segment) => {
      switch (segment.kind) {
        case "static":
          return `/${segment.text}`
        case "constrained":
          return `/{${segment.source}}`
        case "free":
          return "/:"
        case "rest":
          return "/*"
      }
    })
    .join("")

/** At slashes, but not at those between braces: an expression may count with `{3}` and hold a slash. */
const splitSegments = (source: string): ReadonlyArray<string> | undefined => {
  const segments: Array<string> = []
  let current = ""
  let depth = 0
  for (const character of source.slice(1)) {
    if (character === "{") depth++
    if (character === "}") depth--
    if (depth < 0) return undefined
    if (character === "/" && depth === 0) {
      segments.push(current)
      current = ""
    } else current += character
  }
  return depth === 0 ? [...segments, current] : undefined
}

const parseSegment = (text: string, isLast: boolean): Result.Result<Segment, string> => {
  if (text === "*") return Result.succeed(isLast ? { kind: "rest" } : { kind: "free" })
  if (text.startsWith(":")) {
    return /^:\w+$/.test(text) ? Result.succeed({ kind: "free" }) : Result.fail(`${text} is no name for a segment`)
  }
  const constrained = /^\{(\w+):(.+)\}$/s.exec(text)?.[2]
  if (constrained !== undefined) {
    return Result.map(compileRegExp(constrained), (regexp) => ({ kind: "constrained", source: constrained, regexp }))
  }
  return /[*{}]/.test(text)
    ? Result.fail(`${text} is neither a plain segment nor :name, {name:regex} or *`)
    : Result.succeed({ kind: "static", text })
}
