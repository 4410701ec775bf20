/** How long a backend asks to be left alone. */
import type { UpstreamHeaders } from "../domain/UpstreamHeaders.ts"

/** Where it does not say. */
const defaultRestMillis = 1_000

/** No backend may send itself away for longer. */
const maxRestMillis = 300_000

export interface Rest {
  readonly millis: number
  /** Whether the backend itself asked for it. */
  readonly isAsked: boolean
}

/** From `retry-after-ms`, or `retry-after` in seconds or as a date (compared with the answer's `date`). */
export const restFor = (headers: UpstreamHeaders): Rest => {
  const rest = asked(headers)
  return rest === undefined || !Number.isFinite(rest)
    ? { millis: defaultRestMillis, isAsked: false }
    : { millis: Math.min(maxRestMillis, Math.max(0, rest)), isAsked: true }
}

const asked = (headers: UpstreamHeaders): number | undefined => {
  const millis = headers["retry-after-ms"]
  if (typeof millis === "string" && /^\d+$/.test(millis)) return Number(millis)
  const value = headers["retry-after"]
  if (typeof value !== "string") return undefined
  if (/^\d+(\.\d+)?$/.test(value)) return Number(value) * 1000
  // Not every text that `Date.parse` makes something of is a date: `-5` would be one in 2001.
  if (!value.endsWith(" GMT")) return undefined
  const date = headers["date"]
  return Date.parse(value) - (typeof date === "string" ? Date.parse(date) : Date.now())
}
