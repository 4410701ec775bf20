/**
 * `npm run bench:guard`: what Weir costs against the bare proxy, in half a minute. The ratios are always printed; it
 * fails only where one is, in every single round, more than twice what it was when it was written down here, which no
 * busy machine explains: both programs take turns, and CPU time is the kernel's own account.
 */
import { resolve } from "node:path"
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect } from "effect"
import { caseId, usualChunks, usualConnections, usualPace, usualPrompt, wholePlan } from "./cases/Plan.ts"
import { measureRounds, warmUp } from "./cases/Rounds.ts"
import { flatOut, streamsJob } from "./cases/Streams.ts"
import { unaryJob } from "./cases/Unary.ts"
import { makeReader } from "./report/Book.ts"
import { short, spread, table } from "./report/Format.ts"
import { BenchFailed } from "./rig/Children.ts"
import { measureWith } from "./rig/Run.ts"
import { startBare, startUpstream, startWeir } from "./rig/Subjects.ts"

const pacedStreams = 128

/** CPU time against the bare proxy's, as last measured on a quiet machine. To be lowered whenever Weir gets cheaper. */
const recorded = [
  { what: "a request of 2 KB", id: caseId.unary(usualPrompt, usualConnections), ratio: 2.5 },
  { what: "a chunk, flat out", id: caseId.flatOut, ratio: 0.7 },
  { what: `a chunk of ${pacedStreams} paced streams`, id: caseId.streams(pacedStreams), ratio: 1.5 }
]

/** Beyond this it is no noise. */
const gross = 2

const measure = Effect.gen(function* () {
  const upstream = yield* startUpstream
  const bare = yield* startBare(upstream.port)
  const weir = yield* startWeir("weir", "Weir, default configuration", { upstream: upstream.port })
  const both = [bare, weir]
  yield* warmUp(both, { requests: wholePlan.warmingRequests, streams: true })
  const usual = { bodyBytes: usualPrompt, connections: usualConnections }
  const paced = { streams: pacedStreams, chunks: usualChunks, pace: usualPace }
  const shown = "cpuMicros"
  yield* measureRounds(both, {
    section: "unary",
    id: caseId.unary(usualPrompt, usualConnections),
    rounds: 5,
    shown,
    job: unaryJob({ ...usual, warmup: 100, window: 300 })
  })
  yield* measureRounds(both, {
    section: "flat",
    id: caseId.flatOut,
    rounds: 4,
    shown,
    job: streamsJob({ ...flatOut, window: 400 })
  })
  yield* measureRounds(both, {
    section: "streams",
    id: caseId.streams(pacedStreams),
    rounds: 3,
    shown,
    job: streamsJob({ ...paced, warmup: 400, window: 600 })
  })
})

const guard = Effect.gen(function* () {
  const { cases, seconds } = yield* measureWith(wholePlan, resolve(import.meta.dirname, "../../dist/main.js"), measure)
  const reader = makeReader(cases)
  const rows = recorded.map(({ id, ratio, what }) => ({
    what,
    ratio,
    measured: reader.ratio(id, "weir", "bare", "cpuMicros")
  }))
  yield* Console.log(
    table(
      ["CPU of", "x bare proxy", "recorded", "fails above"],
      rows.map(({ measured, ratio, what }) => [what, spread(measured), short(ratio), short(ratio * gross)])
    )
  )
  yield* Console.log(`in ${Math.round(seconds)} s`)
  const over = rows.filter(({ measured, ratio }) => measured === undefined || measured.min > ratio * gross)
  if (over.length > 0) {
    const named = over.map(({ what }) => what).join("; ")
    return yield* new BenchFailed({ message: `grossly dearer than it was, or not measured at all: ${named}` })
  }
}).pipe(Effect.tapError((error) => Console.error(`bench:guard: ${error.message}`)))

NodeRuntime.runMain(guard, { disableErrorReporting: true })
