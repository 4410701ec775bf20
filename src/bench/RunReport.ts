/** The results of `weir bench run`: for a program, and for a reader. */
import { figuresOf } from "./Fields.ts"
import { type Measurement, requestsPerSecond, tokensPerSecond } from "./Measurement.ts"
import { columns, number, tally, times } from "./Shown.ts"

export type RunMode = "sequential" | "concurrent" | "both"

export interface RunsSettings {
  readonly requests: number
  readonly concurrency: number
  readonly promptTokens: number
  readonly maxTokens: number
  readonly baseUrl: string
  readonly model: string
  readonly mode: RunMode
  readonly stream: boolean
}

export interface Runs {
  readonly sequential?: Measurement
  readonly concurrent?: Measurement
}

/** How much more the endpoint does with many at a time than with one; `null` where one of the two was not measured. */
const multiplier = ({ concurrent, sequential }: Runs): number | null => {
  if (sequential === undefined || concurrent === undefined || tokensPerSecond(sequential) === 0) return null
  return tokensPerSecond(concurrent) / tokensPerSecond(sequential)
}

const runJson = (run: Measurement): object => ({
  ...figuresOf(run),
  tokens_counted_by_engine: run.tokensCounted,
  errors: run.failures
})

export const runsJson = (runs: Runs, settings: RunsSettings, timestamp: string): object => ({
  timestamp,
  config: {
    num_requests: settings.requests,
    concurrency: settings.concurrency,
    prompt_tokens: settings.promptTokens,
    max_tokens: settings.maxTokens,
    base_url: settings.baseUrl,
    model: settings.model,
    mode: settings.mode,
    stream: settings.stream
  },
  runs: {
    ...(runs.sequential !== undefined && {
      naive: runJson(runs.sequential),
      naive_node_counts: runs.sequential.nodes
    }),
    ...(runs.concurrent !== undefined && {
      concurrent: runJson(runs.concurrent),
      concurrent_node_counts: runs.concurrent.nodes
    })
  },
  throughput_multiplier: multiplier(runs)
})

const rows: ReadonlyArray<readonly [string, (run: Measurement) => string]> = [
  ["requests", ({ requests, succeeded }) => `${succeeded} of ${requests} answered`],
  ["time", ({ seconds }) => `${number(seconds)} s`],
  ["requests/s", (run) => number(requestsPerSecond(run))],
  ["tokens/s", (run) => `${run.tokensCounted ? "" : "about "}${number(tokensPerSecond(run))}`],
  ["latency p50 / p95 / p99", ({ latency }) => times(latency)],
  ["time to first token", ({ firstToken }) => times(firstToken)],
  ["between tokens", ({ interToken }) => times(interToken)]
]

/** A column for each run, the multiplier, and on request which backend answered. */
export const printRuns = (runs: Runs, { concurrency, stream }: RunsSettings, showsNodes: boolean): string => {
  const shown = [
    ...(runs.sequential === undefined ? [] : [{ title: "sequential", run: runs.sequential }]),
    ...(runs.concurrent === undefined ? [] : [{ title: `concurrent (${concurrency})`, run: runs.concurrent }])
  ]
  const times = multiplier(runs)
  return [
    columns([
      ["", ...shown.map(({ title }) => title)],
      ...rows.map(([name, cell]) => [name, ...shown.map(({ run }) => cell(run))])
    ]),
    ...(stream ? [] : ["The time to the first token is measured with --stream only."]),
    ...(times === null ? [] : [`Throughput multiplier: ${times.toFixed(2)}x`]),
    ...(showsNodes ? shown.map(({ run, title }) => `Nodes, ${title}: ${tally(run.nodes)}`) : []),
    ...shown.flatMap(({ run, title }) =>
      run.succeeded === run.requests ? [] : [`Failures, ${title}: ${tally(run.failures)}`]
    )
  ].join("\n")
}
