/** The figures of a run for a program, in the names that other harnesses use where they have one. */
import { type Measurement, type Percentiles, requestsPerSecond, successRate, tokensPerSecond } from "./Measurement.ts"

/** Microseconds and thousandths are as fine as any of this can be trusted. */
const rounded = (value: number): number => Math.round(value * 1000) / 1000

const orNull = (value: number | undefined): number | null => (value === undefined ? null : rounded(value))

/** `null` for what was not to be had: without a stream it is not known when the first token came. */
const percentileFields = (name: string, values: Percentiles | undefined): Readonly<Record<string, number | null>> => ({
  [`${name}_p50_ms`]: orNull(values?.p50),
  [`${name}_p95_ms`]: orNull(values?.p95),
  [`${name}_p99_ms`]: orNull(values?.p99)
})

export const figuresOf = (run: Measurement): Readonly<Record<string, number | null>> => ({
  total_time_seconds: rounded(run.seconds),
  requests: run.requests,
  requests_per_second: rounded(requestsPerSecond(run)),
  tokens_per_second: rounded(tokensPerSecond(run)),
  prompt_tokens: run.promptTokens,
  completion_tokens: run.completionTokens,
  ...percentileFields("latency", run.latency),
  ...percentileFields("time_to_first_token", run.firstToken),
  ...percentileFields("inter_token", run.interToken),
  success_rate: rounded(successRate(run)),
  error_rate: rounded(100 - successRate(run))
})
