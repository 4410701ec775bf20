/** Streams: paced as an engine paces them, and as fast as they go. */
import { Effect } from "effect"
import type { StreamsJob } from "../load/Job.ts"
import type { Subject } from "../rig/Subjects.ts"
import { tracedName } from "../rig/Traced.ts"
import { CurrentPlan, caseId, usualChunks, usualPace } from "./Plan.ts"
import { measureRounds, rouse } from "./Rounds.ts"
import type { Cast } from "./Unary.ts"

/** The number that the ambitions' results look at. */
export const ambitionStreams = 512

/** Events of 64 streams without pauses, which is more than any of the subjects can pass on. */
export const flatOut = { streams: 64, chunks: 4000, pace: 0, warmup: 300 }

/** So few that none of them may begin in a second. */
const fewStreams = 8

/** Many streams take longer to be all there; they begin one by one. */
const warmupOf = (streams: number): number => (streams > 100 ? 1000 : 300)

/** What all subjects are asked alike. */
export const streamsJob =
  (load: Pick<StreamsJob, "streams" | "chunks" | "pace" | "warmup" | "window">) =>
  ({ headers, pids, port }: Subject): StreamsJob => ({ kind: "streams", port, headers, pids, ...load })

export const measureStreams = Effect.fnUntraced(function* (cast: Cast) {
  const { always, ceiling, configured } = cast
  const plan = yield* CurrentPlan
  const window = plan.streamWindow
  for (const streams of plan.streams) {
    const isJudged = streams === ambitionStreams
    yield* measureRounds(isJudged ? [...always, ceiling] : always, {
      section: "streams",
      id: caseId.streams(streams),
      rounds: isJudged ? plan.rounds : plan.otherRounds,
      shown: "cpuMicros",
      stops: true,
      job: streamsJob({
        streams,
        chunks: usualChunks,
        pace: usualPace,
        warmup: warmupOf(streams),
        window: Math.max(window, streams < fewStreams ? plan.fewStreamsWindow : 0)
      })
    })
  }
  // To trace every request changes nothing for its events: one subject with traces is enough.
  const others = configured.filter(({ name }) => name !== tracedName(1))
  yield* rouse(others)
  yield* measureRounds([...always, ceiling, ...others], {
    section: "flat",
    id: caseId.flatOut,
    rounds: plan.rounds,
    shown: "cpuMicros",
    job: streamsJob({ ...flatOut, window: plan.flatOutWindow })
  })
})
