/** A client's key: what it may ask for, and how much. */
import { hash } from "node:crypto"
import { Redacted, Schema } from "effect"
import { doc, orElse } from "./Fields.ts"
import { Name } from "./Names.ts"
import { between } from "./Settings.ts"

/** What one key may use: requests and tokens a minute, and requests at once. Absent means unlimited. */
export const KeyLimits = Schema.Struct({
  requestsPerMinute: Schema.optionalKey(between(1, 100_000_000)).pipe(
    doc("Requests a minute with this key.", { examples: [600], unit: "requests a minute", absent: "no limit" })
  ),
  tokensPerMinute: Schema.optionalKey(between(1, 1_000_000_000)).pipe(
    doc("Tokens a minute with this key, those of prompts and of answers together.", {
      examples: [200_000],
      unit: "tokens a minute",
      absent: "no limit"
    })
  ),
  concurrent: Schema.optionalKey(between(1, 1_000_000)).pipe(
    doc("Requests at once with this key.", { examples: [8], unit: "requests", absent: "no limit" })
  )
})
export type KeyLimits = typeof KeyLimits.Type

/** One key as a configuration describes it: the key itself, or its SHA-256 in hexadecimal (`weir hash-key`). */
export const ApiKey = Schema.Struct({
  name: Name.pipe(doc("How logs and metrics call the key.", { examples: ["team-a"] })),
  key: Schema.optionalKey(Schema.RedactedFromValue(Schema.NonEmptyString)).pipe(
    doc("The key as clients send it. A key has either this or sha256.", {
      examples: ["${TEAM_A_KEY}"],
      absent: "sha256 must be there",
      secret: true
    })
  ),
  sha256: Schema.optionalKey(
    Schema.String.pipe(
      Schema.check(Schema.isPattern(/^[0-9a-fA-F]{64}$/u, { message: "expected 64 hexadecimal digits" }))
    )
  ).pipe(
    doc("The key's SHA-256 in hexadecimal, as `weir hash-key` prints it.", {
      examples: ["2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"],
      absent: "key must be there"
    })
  ),
  limits: KeyLimits.pipe(orElse({}), doc("How much the key may use.", { examples: [{ requestsPerMinute: 60 }] })),
  models: Schema.Array(Schema.NonEmptyString).pipe(
    orElse(["*"]),
    doc("The models that the key may ask for; `*` stands for any run of characters.", {
      examples: [["qwen2.5-*", "gpt-4o"]]
    })
  ),
  pools: Schema.Array(Schema.NonEmptyString).pipe(
    orElse(["*"]),
    doc("The pools that the key may be used for; `*` stands for any run of characters.", { examples: [["small"]] })
  ),
  priority: between(-1000, 1000).pipe(
    orElse(0),
    doc("Among requests that wait, those of the lowest number are served first.", {
      examples: [10],
      unit: "rank, lower first"
    })
  )
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
