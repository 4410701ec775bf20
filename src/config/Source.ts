/** A configuration file's text as plain data, with the line that each value stands on. JSON is YAML. */
import { Effect } from "effect"
import * as Yaml from "yaml"
import { ConfigInvalid } from "./ConfigInvalid.ts"

export interface Source {
  readonly value: unknown
  /** The line of the value at a path, or of the nearest value around it. */
  readonly lineOf: (path: ReadonlyArray<PropertyKey>) => number | undefined
}

/** Parses one document; every syntax error is reported with its line. An empty file is an empty configuration. */
export const parseSource = Effect.fnUntraced(function* (name: string, text: string) {
  const counter = new Yaml.LineCounter()
  const document = Yaml.parseDocument(text, { lineCounter: counter, merge: true, prettyErrors: false })
  if (document.errors.length > 0) {
    const problems = document.errors.map((error) => ({
      path: "",
      message: error.message.split("\n")[0] ?? "not valid YAML",
      line: counter.linePos(error.pos[0]).line
    }))
    return yield* new ConfigInvalid({ source: name, problems })
  }
  const value: unknown = yield* Effect.try({
    try: () => document.toJS({ maxAliasCount: 100 }) ?? {},
    catch: (cause) =>
      new ConfigInvalid({ source: name, problems: [{ path: "", message: `not usable YAML: ${String(cause)}` }] })
  })
  const lineOf = (path: ReadonlyArray<PropertyKey>): number | undefined => {
    for (let length = path.length; length > 0; length--) {
      const node = document.getIn(path.slice(0, length), true)
      if (Yaml.isNode(node) && node.range) return counter.linePos(node.range[0]).line
    }
    return undefined
  }
  const source: Source = { value, lineOf }
  return source
})
