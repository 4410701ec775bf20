/** A client's key: who may ask, for what, and how much. */
import { hash } from "node:crypto"
import { Redacted, Schema } from "effect"
import { Name } from "./Names.ts"
import { between, orElse } from "./Settings.ts"

/** What one key may use: requests and tokens a minute, and requests at once. Absent means unlimited. */
export const KeyLimits = Schema.Struct({
  requestsPerMinute: Schema.optionalKey(between(1, 100_000_000)),
  tokensPerMinute: Schema.optionalKey(between(1, 1_000_000_000)),
  concurrent: Schema.optionalKey(between(1, 1_000_000))
})
export type KeyLimits = typeof KeyLimits.Type

/** One key as a configuration describes it: the key itself, or its SHA-256 in hexadecimal (`weir hash-key`). */
export const ApiKey = Schema.Struct({
  name: Name,
  key: Schema.optionalKey(Schema.RedactedFromValue(Schema.NonEmptyString)),
  sha256: Schema.optionalKey(
    Schema.String.pipe(
      Schema.check(Schema.isPattern(/^[0-9a-fA-F]{64}$/, { message: "expected 64 hexadecimal digits" }))
    )
  ),
  limits: KeyLimits.pipe(orElse({})),
  models: Schema.Array(Schema.NonEmptyString).pipe(orElse(["*"])),
  pools: Schema.Array(Schema.NonEmptyString).pipe(orElse(["*"])),
  priority: between(-1000, 1000).pipe(orElse(0))
}).pipe(
  Schema.check(
    Schema.makeFilter((entry) =>
      (entry.key === undefined) === (entry.sha256 === undefined) ? "needs either key or sha256" : undefined
    )
  )
)
export type ApiKey = typeof ApiKey.Type

/** The form in which secrets are compared: nothing that could be sent again. */
export const digestOfSecret = (secret: string): string => hash("sha256", secret, "hex")

export const digestOfKey = ({ key, sha256 }: ApiKey): string =>
  key === undefined ? (sha256 ?? "").toLowerCase() : digestOfSecret(Redacted.value(key))

/** `*` stands for any run of characters. */
export const allows = (patterns: ReadonlyArray<string>, name: string): boolean =>
  patterns.some((pattern) => pattern === "*" || pattern === name || (pattern.includes("*") && globs(pattern, name)))

/** Whether some names are not allowed: what cannot be checked is then not allowed either. */
export const isLimited = (patterns: ReadonlyArray<string>): boolean =>
  !patterns.some((pattern) => /^\*+$/.test(pattern))

/** Piece by piece, so that no name can make a pattern run long. */
const globs = (pattern: string, name: string): boolean => {
  const pieces = pattern.split("*")
  const first = pieces.shift() ?? ""
  const last = pieces.pop() ?? ""
  if (name.length < first.length + last.length || !name.startsWith(first) || !name.endsWith(last)) return false
  let rest = name.slice(first.length, name.length - last.length)
  for (const piece of pieces) {
    const at = rest.indexOf(piece)
    if (at < 0) return false
    rest = rest.slice(at + piece.length)
  }
  return true
}
