/** What the load generator is told to do, and what it tells afterwards. */
import { Schema } from "effect"

const target = {
  port: Schema.Int,
  /** Sent with every request. */
  headers: Schema.Record(Schema.String, Schema.String),
  /** Processes whose CPU time is read at the window's edges. */
  pids: Schema.Array(Schema.Int)
}

/** Milliseconds of load before the measured window, and of the window itself. */
const span = { warmup: Schema.Finite, window: Schema.Finite }

/**
 * Requests with a body of `bodyBytes`. Without `rate` every connection asks again as soon as it was answered; with it
 * so many requests a second are due, whether the earlier ones are answered or not, and count from when they were due.
 */
export const UnaryJob = Schema.Struct({
  kind: Schema.tag("unary"),
  ...target,
  ...span,
  connections: Schema.Int,
  bodyBytes: Schema.Int,
  /** Of the answer; without it, it is small. */
  answerBytes: Schema.optionalKey(Schema.Int),
  rate: Schema.optionalKey(Schema.Finite)
})
export type UnaryJob = typeof UnaryJob.Type

/** So many streams at any time, each followed by the next; `pace` in milliseconds, 0: as fast as it goes. */
export const StreamsJob = Schema.Struct({
  kind: Schema.tag("streams"),
  ...target,
  ...span,
  streams: Schema.Int,
  chunks: Schema.Int,
  pace: Schema.Finite
})
export type StreamsJob = typeof StreamsJob.Type

/** Opens streams that stay open, until a `release` comes. */
export const HoldJob = Schema.Struct({ kind: Schema.tag("hold"), ...target, streams: Schema.Int })
export type HoldJob = typeof HoldJob.Type

/** Waits until all held streams have ended; the upstream is told separately. */
export const ReleaseJob = Schema.Struct({ kind: Schema.tag("release") })

export const Job = Schema.Union([UnaryJob, StreamsJob, HoldJob, ReleaseJob])
export type Job = typeof Job.Type

/** Figures by name; a figure that was not to be had is left out. */
export const Figures = Schema.Record(Schema.String, Schema.Finite)
export type Figures = typeof Figures.Type

export const Ready = Schema.Struct({ ready: Schema.Literal(true) })

/** One for each job, in their order. */
export const Outcome = Schema.Union([Schema.Struct({ figures: Figures }), Schema.Struct({ failure: Schema.String })])
