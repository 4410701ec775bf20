/** How much is measured: everything in under five minutes, or the least that says something in under one. */
import { Context } from "effect"

export interface Plan {
  /** Rounds of the cases that the ambitions' results look at, and of the others. */
  readonly rounds: number
  readonly otherRounds: number
  /** Requests that a subject is warmed with. */
  readonly warmingRequests: number
  /** Whether the subjects with traces are there. */
  readonly traces: boolean
  /** Whether requests are measured at fixed rates too. */
  readonly fixedRates: boolean
  /** Milliseconds of a measured window of requests, and of streams. */
  readonly window: number
  readonly streamWindow: number
  readonly flatOutWindow: number
  /** Few streams take longer to say something of how they begin. */
  readonly fewStreamsWindow: number
  readonly prompts: ReadonlyArray<number>
  readonly connections: ReadonlyArray<number>
  readonly streams: ReadonlyArray<number>
  /** Streams that are held open at once, where the limit of open files allows. */
  readonly idleStreams: number
  /** Whether they come and go a second time through Weir. */
  readonly idleTwice: boolean
  readonly scale: {
    readonly backends: ReadonlyArray<number>
    readonly keys: ReadonlyArray<number>
    readonly rules: ReadonlyArray<number>
  }
}

export class CurrentPlan extends Context.Service<CurrentPlan, Plan>()("weir/bench/CurrentPlan") {}

const KB = 1024

export const wholePlan: Plan = {
  rounds: 3,
  otherRounds: 2,
  warmingRequests: 16_000,
  traces: true,
  fixedRates: true,
  window: 400,
  streamWindow: 1000,
  flatOutWindow: 400,
  fewStreamsWindow: 1000,
  prompts: [205, 2 * KB, 16 * KB, 256 * KB],
  connections: [1, 32, 256],
  streams: [1, 64, 512, 2000],
  idleStreams: 10_000,
  idleTwice: true,
  scale: { backends: [100, 1000], keys: [1, 100_000], rules: [1, 1000] }
}

/** As far as a minute reaches: with fewer streams, without traces and fixed rates, and warmed a little less. */
export const quickPlan: Plan = {
  ...wholePlan,
  rounds: 2,
  otherRounds: 1,
  warmingRequests: 14_000,
  traces: false,
  fixedRates: false,
  window: 250,
  streamWindow: 400,
  flatOutWindow: 250,
  connections: [32],
  prompts: [2 * KB, 16 * KB, 256 * KB],
  streams: [512],
  idleStreams: 500,
  idleTwice: false,
  scale: { backends: [1000], keys: [1, 10_000], rules: [] }
}

/** The prompt and the number of connections that most rows of the ambitions' results are about. */
export const usualPrompt = 2 * KB
export const usualConnections = 32

/** A batch of embeddings, in bytes; and how many are asked for at once. */
export const largeAnswer = 3_000_000
export const largeConnections = 8

/** The pace of the measured streams: 64 events, 20 ms apart. */
export const usualChunks = 64
export const usualPace = 20

export const sizeName = (bytes: number): string => (bytes < KB ? `${(bytes / KB).toFixed(1)} KB` : `${bytes / KB} KB`)

export const caseId = {
  large: `answer of ${largeAnswer / 1e6} MB x ${largeConnections}`,
  unary: (bytes: number, connections: number) => `unary ${sizeName(bytes)} x ${connections}`,
  open: "open loop, half of bare",
  calm: "open loop, calm",
  streams: (count: number) => `streams x ${count}`,
  flatOut: "streams flat out",
  idle: "idle streams",
  startup: "startup",
  scale: "scale 2 KB x 32"
} as const
