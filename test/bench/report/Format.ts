/** How figures are written. */
import type { Summary } from "../Statistics.ts"

/** Three digits that matter. */
export const short = (value: number): string => {
  const size = Math.abs(value)
  if (size >= 1000) return Math.round(value).toLocaleString("en")
  if (size >= 100) return value.toFixed(0)
  if (size >= 10) return value.toFixed(1)
  return size >= 1 ? value.toFixed(2) : value.toFixed(3)
}

/** The median with the lowest and the highest round. */
export const spread = (summary: Summary | undefined): string => {
  if (summary === undefined) return "–"
  const { max, median, min, values } = summary
  return values.length === 1 ? short(median) : `${short(median)} (${short(min)}..${short(max)})`
}

/** The median alone. */
export const middle = (summary: Summary | undefined): string => (summary === undefined ? "–" : short(summary.median))

/** A Markdown table. */
export const table = (columns: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const line = (cells: ReadonlyArray<string>) => `| ${cells.join(" | ")} |`
  const rule = columns.map((_, index) => (index === 0 ? "---" : "---:"))
  return [line(columns), line(rule), ...rows.map(line)].join("\n")
}
