/** Streams: paced as an engine paces them, and as fast as they go. */
import { Effect } from "effect"
import type { StreamsJob } from "../load/Job.ts"
import type { Subject } from "../rig/Subjects.ts"
import { CurrentPlan, caseId, usualChunks, usualPace } from "./Plan.ts"
import { measureRounds } from "./Rounds.ts"
import type { Cast } from "./Unary.ts"

/** The number at which the verdicts look. */
export const verdictStreams = 512

/** Events of 64 streams without pauses, which is more than any of the subjects can pass on. */
const flatOut = { streams: 64, chunks: 4000, pace: 0, warmup: 400 }

/** Many streams take longer to be all there. */
const warmupOf = (streams: number): number => (streams > 100 ? 800 : 300)

export const measureStreams = Effect.fnUntraced(function* ({ always, extras }: Cast) {
  const plan = yield* CurrentPlan
  const job =
    (shape: Pick<StreamsJob, "streams" | "chunks" | "pace" | "warmup">) =>
    ({ headers, pids, port }: Subject): StreamsJob => ({
      kind: "streams",
      port,
      headers,
      pids,
      window: plan.streamWindow,
      ...shape
    })
  for (const streams of plan.streams) {
    const isJudged = streams === verdictStreams
    yield* measureRounds(isJudged ? [...always, ...extras] : always, {
      section: "streams",
      id: caseId.streams(streams),
      rounds: isJudged ? plan.rounds : plan.otherRounds,
      shown: "cpuMicros",
      job: job({ streams, chunks: usualChunks, pace: usualPace, warmup: warmupOf(streams) })
    })
  }
  yield* measureRounds([...always, ...extras], {
    section: "flat",
    id: caseId.flatOut,
    rounds: plan.rounds,
    shown: "cpuMicros",
    job: job(flatOut)
  })
})
