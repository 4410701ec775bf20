/** The results of `weir bench sweep`: one row for each number of requests at a time. */
import { figuresOf } from "./Fields.ts"
import { type Measurement, requestsPerSecond, successRate, tokensPerSecond } from "./Measurement.ts"
import { columns, number, times } from "./Shown.ts"

export interface Step {
  readonly concurrency: number
  readonly run: Measurement
}

/** What other harnesses have stands first; what a GPU does cannot be seen from here. */
const fields = ({ concurrency, run }: Step): Readonly<Record<string, number | null>> => {
  const { error_rate = null, latency_p95_ms = null, tokens_per_second = null, ...others } = figuresOf(run)
  return {
    concurrency,
    tokens_per_second,
    latency_p95_ms,
    error_rate,
    gpu_util_avg: null,
    vram_used_mb_avg: null,
    ...others
  }
}

export const sweepJson = (steps: ReadonlyArray<Step>): ReadonlyArray<object> =>
  steps.map((step) => ({ ...fields(step), errors: step.run.failures, node_counts: step.run.nodes }))

/** Numbers and names of our own only: nothing in it needs quotes. */
export const sweepCsv = (steps: ReadonlyArray<Step>): string => {
  const rows = steps.map(fields)
  const header = Object.keys(rows[0] ?? {})
  return [header, ...rows.map((row) => Object.values(row).map((value) => value ?? ""))]
    .map((cells) => `${cells.join(",")}\n`)
    .join("")
}

export const sweepTable = (steps: ReadonlyArray<Step>): string =>
  columns([
    [
      "concurrency",
      "requests/s",
      "tokens/s",
      "latency p50 / p95 / p99",
      "time to first token",
      "between tokens",
      "answered"
    ],
    ...steps.map(({ concurrency, run }) => [
      String(concurrency),
      number(requestsPerSecond(run)),
      number(tokensPerSecond(run)),
      times(run.latency),
      times(run.firstToken),
      times(run.interToken),
      `${number(successRate(run))} %`
    ])
  ])
