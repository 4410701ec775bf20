/** Rounds in which every subject has its turn, so that all of them see the same machine. */
import { Effect } from "effect"
import { cpuTime } from "../load/Cpu.ts"
import type { Figures, Job } from "../load/Job.ts"
import { Book, type CaseNote } from "../report/Book.ts"
import { Generator } from "../rig/Generator.ts"
import { watchStops } from "../rig/Stops.ts"
import type { Subject } from "../rig/Subjects.ts"
import { caseId, usualConnections, usualPrompt } from "./Plan.ts"
import { progress } from "./Progress.ts"

export interface RoundsOptions {
  readonly section: CaseNote["section"]
  readonly id: string
  readonly rounds: number
  readonly job: (subject: Subject) => Job
  /** What the progress shows. */
  readonly shown: string
  /** Whether the longest stop of the collector is a figure too, of those subjects that have one. */
  readonly stops?: boolean
}

/** One job for each subject and round; every other round is reversed, so that none always follows the same one. */
export const measureRounds = Effect.fnUntraced(function* (subjects: ReadonlyArray<Subject>, options: RoundsOptions) {
  const { id, job, rounds, section, shown, stops = false } = options
  const book = yield* Book
  for (let round = 0; round < rounds; round++) {
    for (const subject of round % 2 === 0 ? subjects : subjects.toReversed()) {
      const figures = yield* stops ? runWatched(subject, job(subject)) : runJob(job(subject))
      book.add(section, id, subject.name, figures)
      yield* progress(`${id}, round ${round + 1}/${rounds}, ${subject.name}: ${shown} ${figures[shown]?.toFixed(2)}`)
      yield* settle(subject.pids)
    }
  }
})

const runJob = Effect.fnUntraced(function* (job: Job) {
  const generator = yield* Generator
  return yield* generator.run(job)
})

const runWatched = Effect.fnUntraced(function* ({ inspected }: Subject, job: Job) {
  if (inspected === undefined) return yield* runJob(job)
  const { longestStop, result } = yield* watchStops(inspected, runJob(job))
  const figures: Figures = { ...result, longestStop }
  return figures
})

/** Less CPU than this share of the time counts as rest. */
const restShare = 0.1
const restMillis = 30

/** Until the subject is at rest, at most a second: its clean-up belongs to its own turn, not to the next one's. */
export const settle = (pids: ReadonlyArray<number>): Effect.Effect<void> =>
  Effect.gen(function* () {
    for (let waited = 0; waited < 1000; waited += restMillis) {
      const before = cpuTime(pids).used
      yield* Effect.sleep(restMillis)
      if (cpuTime(pids).used - before < restMillis * restShare) return
    }
  })

/** A piece of the warming, in milliseconds. */
const warmingWindow = 500
const mostPieces = 16
/** So many that passing them on is compiled, and so few that opening a stream is, too. */
const warmingChunks = 500

/** What a subject is warmed with. */
export interface Warming {
  readonly requests: number
  /** Whether every third piece of the time is streams. */
  readonly streams: boolean
}

/**
 * Requests and streams that count nowhere. The compiler works on the subject's own core, and a large program is only
 * compiled as it will stay after more than twenty thousand requests: a cold subject would look twice as dear.
 */
export const warmUp = Effect.fnUntraced(function* (subjects: ReadonlyArray<Subject>, { requests, streams }: Warming) {
  for (const subject of subjects) {
    let done = 0
    for (let piece = 0; piece < mostPieces && done < requests; piece++) {
      const { cpuMicros = 0, requestsPerSecond = 0 } = yield* warmingPiece(subject, streams && piece % 3 === 2)
      done += (requestsPerSecond * warmingWindow) / 1000
      yield* progress(`warming up ${subject.name}: ${cpuMicros.toFixed(0)} µs`)
    }
    yield* settle(subject.pids)
  }
})

/**
 * Some streams that count nowhere, for subjects that have had none for a minute: meanwhile their idle connections were
 * closed, and the first time that happens V8 throws away a good part of what it had compiled of Node's sockets.
 */
export const rouse = Effect.fnUntraced(function* (subjects: ReadonlyArray<Subject>) {
  for (const subject of subjects) {
    for (let piece = 0; piece < 3; piece++) yield* warmingPiece(subject, true)
    yield* settle(subject.pids)
  }
})

const warmingPiece = Effect.fnUntraced(function* ({ headers, pids, port }: Subject, streams: boolean) {
  const generator = yield* Generator
  const target = { port, headers, pids, warmup: 0, window: warmingWindow }
  return yield* generator.run(
    streams
      ? { kind: "streams", ...target, streams: usualConnections, chunks: warmingChunks, pace: 0 }
      : { kind: "unary", ...target, connections: usualConnections, bodyBytes: usualPrompt }
  )
})

/** The highest rate of the bare proxy in this run, measured now if no case has done so. */
export const bareMaximum = Effect.fnUntraced(function* (bare: Subject) {
  const generator = yield* Generator
  const book = yield* Book
  const known = book.cases().find(({ id }) => id === caseId.unary(usualPrompt, usualConnections))?.subjects[bare.name]
  const rates = (known ?? []).flatMap(({ requestsPerSecond = 0 }) => requestsPerSecond)
  if (rates.length > 0) return rates.toSorted((a, b) => a - b)[Math.floor(rates.length / 2)] ?? 0
  const figures = yield* generator.run({
    kind: "unary",
    port: bare.port,
    headers: bare.headers,
    pids: bare.pids,
    connections: usualConnections,
    bodyBytes: usualPrompt,
    warmup: 300,
    window: 1000
  })
  return figures["requestsPerSecond"] ?? 0
})
