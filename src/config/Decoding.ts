/** From plain data to a {@link GatewayConfig}, or to the list of everything that is wrong with it. */

import type { Result, SchemaAST } from "effect"
import { Effect, Schema, SchemaIssue, Struct } from "effect"
import { ConfigFile, type GatewayConfig } from "../domain/GatewayConfig.ts"
import type { Issue } from "../domain/Issue.ts"
import { suggestion } from "../domain/Suggestion.ts"

const decode = Schema.decodeUnknownEffect(ConfigFile, { errors: "all", onExcessProperty: "error" })

/** Decodes and fills in defaults. Values are never part of a message: they may be secrets. */
export const decodeConfig = (value: unknown): Effect.Effect<Result.Result<GatewayConfig, ReadonlyArray<Issue>>> =>
  decode(value).pipe(
    Effect.map((file): GatewayConfig => Struct.omit(file, ["$schema"])),
    Effect.mapError((error) => describe(error.issue)),
    Effect.result
  )

const describe = (issue: SchemaIssue.Issue): ReadonlyArray<Issue> => {
  // The formatter calls the hook once a leaf, in the order of its output: so each unknown key finds its parent again.
  const parents: Array<SchemaAST.AST> = []
  const format = SchemaIssue.makeFormatterStandardSchemaV1({
    leafHook: (leaf) => {
      if (leaf._tag === "MissingKey") return "is required"
      if (leaf._tag !== "UnexpectedKey") return SchemaIssue.defaultLeafHook(leaf)
      parents.push(leaf.ast)
      return unknownKey
    }
  })
  return format(issue).issues.map(({ message, path }) => {
    const at = (path ?? []).map((segment) => (typeof segment === "object" ? segment.key : segment))
    return {
      at,
      message: message === unknownKey ? suggestKey(String(at.at(-1)), parents.shift()) : lowerFirst(message)
    }
  })
}

const unknownKey = "\u0000unknown key"

const lowerFirst = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1)

const suggestKey = (key: string, parent: SchemaAST.AST | undefined): string => {
  const known = parent?._tag === "Objects" ? parent.propertySignatures.map(({ name }) => String(name)) : []
  const nearest = suggestion(key, known)
  return `unknown key${nearest === undefined ? "" : `; did you mean ${nearest}?`} (known: ${known.join(", ")})`
}
