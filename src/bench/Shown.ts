/** How figures look in a terminal. */
import type { Percentiles } from "./Measurement.ts"

export const number = (value: number): string =>
  value >= 100 ? Math.round(value).toLocaleString("en") : value.toFixed(value >= 10 ? 1 : 2)

export const time = (millis: number): string =>
  millis >= 1000 ? `${(millis / 1000).toFixed(2)} s` : `${millis.toFixed(millis >= 100 ? 0 : 1)} ms`

/** Three of them in one cell. */
export const times = (values: Percentiles | undefined): string =>
  values === undefined ? "–" : `${time(values.p50)} / ${time(values.p95)} / ${time(values.p99)}`

/** Columns beside each other, the first one to the left. */
export const columns = (rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)))
  return rows
    .map((row) =>
      row
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
        .join("   ")
        .trimEnd()
    )
    .join("\n")
}

/** Names with how often each occurred. */
export const tally = (counted: Readonly<Record<string, number>>): string =>
  Object.entries(counted)
    .map(([name, count]) => `${name} x ${count}`)
    .join(", ")
