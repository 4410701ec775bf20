/** The figures for a reader. */
import { short, table } from "../report/Format.ts"
import { type AmbitionResult, firstShare, lateShare } from "./Ambitions.ts"
import type { DecisionCost } from "./Deciding.ts"
import type { Figures } from "./Figures.ts"
import { loads, type Subject } from "./Measure.ts"
import { type WorkloadName, workloads } from "./Workloads.ts"

export interface Row {
  readonly workload: WorkloadName
  readonly load: number
  readonly subject: Subject
  readonly figures: Figures
}

export interface SchedulingReport {
  readonly seed: number
  readonly rows: ReadonlyArray<Row>
  readonly ambitionResults: ReadonlyArray<AmbitionResult>
  readonly costs: ReadonlyArray<DecisionCost>
}

type Column = readonly [title: string, cell: (figures: Figures) => string]

const percent = (share: number): string => `${(share * 100).toFixed(1)} %`
const millis = (value: number): string => short(Math.round(value))

const usual: ReadonlyArray<Column> = [
  ["TTFT mean ms", ({ ttft }) => millis(ttft.mean)],
  ["p50", ({ ttft }) => millis(ttft.p50)],
  ["p99", ({ ttft }) => millis(ttft.p99)],
  ["end to end mean ms", ({ e2e }) => millis(e2e.mean)],
  ["p50", ({ e2e }) => millis(e2e.p50)],
  ["p99", ({ e2e }) => millis(e2e.p99)],
  ["goodput/s", ({ goodput }) => goodput.toFixed(1)],
  ["hit rate", ({ hitRate }) => percent(hitRate)],
  ["busiest / mean", ({ imbalance }) => imbalance.toFixed(2)]
]

const special: Record<WorkloadName, ReadonlyArray<Column>> = {
  equal: [],
  unequal: [],
  conversing: [],
  instructed: [],
  slowing: [["slow engine's share after 10 s", (figures) => percent(lateShare(figures))]],
  dying: [
    ["lost", ({ lost }) => String(lost)],
    ["cut", ({ cut }) => String(cut)],
    ["share in 5 s after return", (figures) => percent(firstShare(figures))],
    ["its peak / mean", ({ returnPeak }) => returnPeak.toFixed(2)]
  ]
}

const workloadTable = (rows: ReadonlyArray<Row>, workload: WorkloadName, load: number): string => {
  const columns = [...usual, ...special[workload]]
  const own = rows.filter((row) => row.workload === workload && row.load === load)
  return [
    `### ${workloads[workload].name}, at ${percent(load)} of capacity`,
    table(
      ["", ...columns.map(([title]) => title)],
      own.map(({ figures, subject }) => [subject, ...columns.map(([, cell]) => cell(figures))])
    )
  ].join("\n\n")
}

const ambitionTable = (ambitionResults: ReadonlyArray<AmbitionResult>): string =>
  table(
    ["ambition, at 85.0 % of capacity", "found", "met"],
    ambitionResults.map(({ ambition, found, met }) => [ambition, found, met ? "yes" : "NO"])
  )

const costTable = (costs: ReadonlyArray<DecisionCost>): string =>
  table(
    ["µs for a decision", "8 backends", "1,000 backends"],
    [...new Set(costs.map(({ strategy }) => strategy))].map((strategy) => [
      strategy,
      ...costs
        .filter((cost) => cost.strategy === strategy)
        .map(({ limit, micros }) => `${short(micros)}${micros > limit ? ` (allowed ${limit})` : ""}`)
    ])
  )

/** Everything, or what belongs on a page: the tables of the load at which ambitions are checked. */
export const toText = (
  { costs, rows, seed, ambitionResults }: SchedulingReport,
  shown: ReadonlyArray<number>
): string => {
  const measured = new Set(rows.map(({ workload }) => workload))
  const tables = [...measured].flatMap((workload) =>
    loads.filter((load) => shown.includes(load)).map((load) => workloadTable(rows, workload, load))
  )
  return [
    `Seed ${seed}.`,
    ambitionTable(ambitionResults),
    ...tables,
    "### What a decision costs",
    costTable(costs)
  ].join("\n\n")
}
