/** What must never be written anywhere: values whose key says that they are secret. */
import { Redacted } from "effect"
import { isSecretName, scrub } from "./Credentials.ts"

/** Counts of tokens, by kind: no secrets, unless there is text behind them. */
const countsKey = /tokens$|token_seconds|tokens_total/i

/** The same data with every value behind a telling key replaced; nesting deeper than 6 is cut off. */
export const redact = (value: unknown, depth = 0): unknown => {
  if (Redacted.isRedacted(value)) return "<redacted>"
  if (value instanceof Error) return { error: value.name, message: scrub(value.message) }
  if (typeof value === "string") return scrub(value)
  if (typeof value === "bigint") return value.toString()
  if (typeof value !== "object" || value === null) return value
  if (value instanceof Date || value instanceof URL) return scrub(JSON.stringify(value).slice(1, -1))
  if (ArrayBuffer.isView(value)) return `<${value.byteLength} bytes>`
  if (depth >= 6) return "…"
  if (Array.isArray(value) || value instanceof Set) return Array.from(value, (item: unknown) => redact(item, depth + 1))
  const entries = value instanceof Map ? Array.from(value, ([key, item]) => [String(key), item]) : Object.entries(value)
  return Object.fromEntries(
    entries.map(([key, item]) => [key, isSecret(key, item) ? "<redacted>" : redact(item, depth + 1)])
  )
}

const isSecret = (key: string, value: unknown): boolean => {
  if (typeof value === "number" || !isSecretName(key)) return false
  return !countsKey.test(key) || typeof value !== "object" || Array.isArray(value)
}
