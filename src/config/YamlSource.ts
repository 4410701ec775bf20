/** A configuration file's text as plain data, with the line that each value stands on. JSON is YAML. */
import { Effect } from "effect"
import * as Yaml from "yaml"
import { configInvalid } from "./ConfigInvalid.ts"

export interface YamlSource {
  readonly value: unknown
  /** The line of the value at a path, or of the nearest value around it. */
  readonly lineOf: (path: ReadonlyArray<PropertyKey>) => number | undefined
}

/**
 * Parses one document. Of its syntax errors the first is reported, with its line: what follows is what a parser makes of
 * having lost its way. An empty file is an empty configuration.
 */
export const parseSource = Effect.fnUntraced(function* (name: string, text: string) {
  const counter = new Yaml.LineCounter()
  const document = Yaml.parseDocument(text, { lineCounter: counter, merge: true, prettyErrors: false })
  const first = document.errors.toSorted((a, b) => a.pos[0] - b.pos[0])[0]
  if (first !== undefined) {
    const { line } = counter.linePos(first.pos[0])
    // Patterns and expressions are where this happens: `{ path: /a/{x:[0-9]+}, … }`.
    const hint = /[{[]/.test(text.split("\n")[line - 1] ?? "")
      ? "; text with braces or brackets in it needs quotes"
      : ""
    const message = `not valid YAML: ${withoutSource(first.message)}${hint}`
    return yield* configInvalid(name, [{ path: "", message, line }])
  }
  yield* Effect.yieldNow
  const value: unknown = yield* Effect.try({
    try: () => document.toJS({ maxAliasCount: 100 }) ?? {},
    catch: (cause) => configInvalid(name, [{ path: "", message: `not usable YAML: ${withoutSource(String(cause))}` }])
  })
  const lineOf = (path: ReadonlyArray<PropertyKey>): number | undefined => {
    for (let length = path.length; length > 0; length--) {
      const node = document.getIn(path.slice(0, length), true)
      if (Yaml.isNode(node) && node.range) return counter.linePos(node.range[0]).line
    }
    return undefined
  }
  const source: YamlSource = { value, lineOf }
  return source
})

/** The parser quotes the text that it stumbled over, which may be a secret: only what is wrong is told. */
const withoutSource = (message: string): string =>
  (message.split("\n")[0] ?? "")
    .replace(/(Unexpected .+ token in YAML (?:stream|document)): .*$/, "$1")
    .replace(/((?:extra characters|Not a YAML token|Unresolved tag|Unresolved alias[^:]*)):? .*$/, "$1")
