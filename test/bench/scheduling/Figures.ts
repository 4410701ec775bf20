/** What a run comes to, in figures. */

import { shape } from "./Engine.ts"
import { type Scenario, times, victim } from "./Scenarios.ts"
import type { Outcome, Placement } from "./Simulation.ts"

export interface Spread {
  readonly mean: number
  readonly p50: number
  readonly p99: number
}

export interface Figures {
  /** Milliseconds from arrival to the first token, and to the last. */
  readonly ttft: Spread
  readonly e2e: Spread
  /** Requests a second that were served well: see {@link goodTtft}. */
  readonly goodput: number
  /** Share of the prompts' tokens that were cached. */
  readonly hitRate: number
  /** The busiest engine's load for its speed, in multiples of the mean. */
  readonly imbalance: number
  readonly lost: number
  readonly cut: number
  /** d: the slow engine's share of new requests, for each second from the moment that it turned slow. */
  readonly slowShares: ReadonlyArray<number>
  /** e: the engine's share of new requests, for each second from the first that it was given again. */
  readonly returnShares: ReadonlyArray<number>
  /** e: its highest load in the half minute after its return, in multiples of the mean of the others. */
  readonly returnPeak: number
}

/** What a person still takes for a prompt answer: a first token within a second, then 20 tokens a second or more. */
const goodTtft = 1000
const goodTokenTime = 50

export const figuresOf = (outcome: Outcome, { speeds, window }: Scenario): Figures => {
  const counted = outcome.served.filter(({ job }) => job.arrivedAt >= window.from && job.arrivedAt < window.to)
  const good = counted.filter(
    ({ finishedAt, firstTokenAt, job }) =>
      firstTokenAt - job.arrivedAt <= goodTtft &&
      finishedAt - firstTokenAt <= goodTokenTime * Math.max(1, job.outputTokens - 1)
  )
  const loads = outcome.meanLoad.map((load, index) => load / (speeds[index] ?? 1))
  return {
    ttft: spreadOf(counted.map(({ firstTokenAt, job }) => firstTokenAt - job.arrivedAt)),
    e2e: spreadOf(counted.map(({ finishedAt, job }) => finishedAt - job.arrivedAt)),
    goodput: (good.length * 1000) / (window.to - window.from),
    hitRate:
      sum(counted.map(({ cachedTokens }) => cachedTokens)) /
      sum(counted.map(({ job }) => job.prompt.length * shape.tokensPerBlock)),
    imbalance: Math.max(...loads) / meanOf(loads),
    lost: outcome.lost,
    cut: outcome.cut,
    slowShares: sharesFrom(outcome.placements, times.slowAt),
    ...returnOf(outcome)
  }
}

const returnOf = ({ loads, placements }: Outcome): Pick<Figures, "returnPeak" | "returnShares"> => {
  const first = placements.find(({ at, engine }) => engine === victim && at >= times.recoversAt)?.at
  if (first === undefined) return { returnShares: [], returnPeak: 0 }
  const peaks = loads
    .filter(({ at }) => at >= first && at < first + 30_000)
    .map(({ loads: each }) => (each[victim] ?? 0) / Math.max(1, meanOf(each.filter((_, index) => index !== victim))))
  return { returnShares: sharesFrom(placements, first), returnPeak: Math.max(0, ...peaks) }
}

/** The victim's share of new requests, second by second, for a minute. */
const sharesFrom = (placements: ReadonlyArray<Placement>, from: number): ReadonlyArray<number> => {
  const all = Array.from({ length: 60 }, () => 0)
  const its = [...all]
  for (const { at, attempt, engine } of placements) {
    const second = Math.floor((at - from) / 1000)
    if (attempt > 1 || second < 0 || second >= all.length) continue
    all[second] = (all[second] ?? 0) + 1
    if (engine === victim) its[second] = (its[second] ?? 0) + 1
  }
  return its.map((count, second) => count / Math.max(1, all[second] ?? 0))
}

const sum = (values: ReadonlyArray<number>): number => values.reduce((total, value) => total + value, 0)

export const meanOf = (values: ReadonlyArray<number>): number => sum(values) / Math.max(1, values.length)

const spreadOf = (values: ReadonlyArray<number>): Spread => {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0
  return { mean: meanOf(sorted), p50: at(0.5), p99: at(0.99) }
}
