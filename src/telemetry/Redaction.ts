/** What must never be written anywhere: values whose key says that they are secret. */
import { Redacted } from "effect"

const secretKey = /authorization|bearer|api[-_]?key|token|secret|password/i
const innocent = /tokens$|token_seconds|tokens_total/i

/** The same data with every value behind a telling key replaced; nesting deeper than 6 is cut off. */
export const redact = (value: unknown, depth = 0): unknown => {
  if (Redacted.isRedacted(value)) return "<redacted>"
  if (value instanceof Error) return { error: value.name, message: scrub(value.message) }
  if (typeof value === "string") return scrub(value)
  if (typeof value !== "object" || value === null) return value
  if (depth >= 6) return "…"
  if (Array.isArray(value)) return value.map((item: unknown) => redact(item, depth + 1))
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [
      key,
      secretKey.test(key) && !innocent.test(key) && typeof item !== "number" ? "<redacted>" : redact(item, depth + 1)
    ])
  )
}

const credential = /\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{4,}/gi
const userinfo = /(\w+:\/\/)[^/\s@]+@/g

/** Credentials that stand in running text: `Bearer …`, `Basic …`, and user and password in an address. */
export const scrub = (text: string): string =>
  text.replace(credential, "$1 <redacted>").replace(userinfo, "$1<redacted>@")
