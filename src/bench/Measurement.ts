/** What the samples of one run come down to. */
import type { Sample } from "./Sample.ts"

/** The value below which the share `p` (0 to 1) of the sorted values lies, by linear interpolation. */
export const quantile = (sorted: ArrayLike<number>, p: number): number => {
  const place = (sorted.length - 1) * p
  const below = Math.floor(place)
  const low = sorted[below] ?? Number.NaN
  const high = sorted[Math.min(below + 1, sorted.length - 1)] ?? Number.NaN
  return low + (high - low) * (place - below)
}

export interface Percentiles {
  readonly p50: number
  readonly p95: number
  readonly p99: number
}

/** `undefined` where there is nothing to take them of. */
export const percentiles = (values: ReadonlyArray<number>): Percentiles | undefined => {
  if (values.length === 0) return undefined
  const sorted = Float64Array.from(values).toSorted()
  return { p50: quantile(sorted, 0.5), p95: quantile(sorted, 0.95), p99: quantile(sorted, 0.99) }
}

export interface Measurement {
  readonly seconds: number
  readonly requests: number
  readonly succeeded: number
  readonly promptTokens: number
  readonly completionTokens: number
  /** Whether the engine counted all of them. */
  readonly tokensCounted: boolean
  /** Of the requests that succeeded; milliseconds. */
  readonly latency: Percentiles | undefined
  readonly firstToken: Percentiles | undefined
  readonly interToken: Percentiles | undefined
  /** How many requests each backend answered, by name. */
  readonly nodes: Readonly<Record<string, number>>
  /** How often each reason of a failure occurred, the commonest first. */
  readonly failures: Readonly<Record<string, number>>
}

export const summarize = (samples: ReadonlyArray<Sample>, seconds: number): Measurement => {
  const answered = samples.filter((sample) => sample._tag === "Answered")
  const failed = samples.filter((sample) => sample._tag === "Failed")
  return {
    seconds,
    requests: samples.length,
    succeeded: answered.length,
    promptTokens: answered.reduce((sum, { promptTokens }) => sum + promptTokens, 0),
    completionTokens: answered.reduce((sum, { completionTokens }) => sum + completionTokens, 0),
    tokensCounted: answered.every(({ counted }) => counted),
    latency: percentiles(answered.map(({ latency }) => latency)),
    firstToken: percentiles(answered.flatMap(({ firstToken = [] }) => firstToken)),
    interToken: percentiles(answered.flatMap(({ gaps }) => gaps)),
    nodes: counts(samples.map(({ node }) => node)),
    failures: counts(failed.map(({ reason }) => reason))
  }
}

const counts = (names: ReadonlyArray<string>): Readonly<Record<string, number>> => {
  const found = new Map<string, number>()
  for (const name of names) found.set(name, (found.get(name) ?? 0) + 1)
  return Object.fromEntries([...found].toSorted(([, a], [, b]) => b - a))
}

/** A second that took no time is no reason to divide by zero. */
const perSecond = (count: number, { seconds }: Measurement): number => (seconds > 0 ? count / seconds : 0)

export const requestsPerSecond = (run: Measurement): number => perSecond(run.succeeded, run)
export const tokensPerSecond = (run: Measurement): number => perSecond(run.completionTokens, run)

/** In percent. */
export const successRate = ({ requests, succeeded }: Measurement): number =>
  requests === 0 ? 0 : (succeeded / requests) * 100
