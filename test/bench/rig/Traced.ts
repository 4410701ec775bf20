/** Weir sending its spans to a sink: measured only where the version at hand really sends some. */
import { Effect, Schedule } from "effect"
import { CurrentPlan } from "../cases/Plan.ts"
import { warmUp } from "../cases/Rounds.ts"
import { Book } from "../report/Book.ts"
import { tracesAt } from "./Answering.ts"
import { acceptsConfig, startSink, startWeir } from "./Subjects.ts"

const ratios = [0.1, 1]

export const tracedName = (ratio: number): string => `weir-traces-${ratio * 100}`

/** Spans are sent in batches, some seconds after they ended. */
const patience = "8 seconds"

export const startTraced = Effect.fnUntraced(function* (upstream: number) {
  const book = yield* Book
  const { warmingRequests } = yield* CurrentPlan
  if (!(yield* acceptsConfig("traces", { upstream, traces: { sink: 1, ratio: 1 } }))) {
    book.remark("no figures with traces: this version of Weir refuses `telemetry.traces`")
    return []
  }
  const sink = yield* startSink
  const subjects = yield* Effect.forEach(ratios, (ratio) =>
    startWeir(tracedName(ratio), `everything on, and ${ratio * 100} % of the requests traced`, {
      upstream,
      everything: true,
      traces: { sink: sink.port, ratio }
    })
  )
  yield* warmUp(subjects, { requests: warmingRequests, streams: true })
  const arrived = yield* tracesAt(sink.port).pipe(
    Effect.flatMap(({ traces }) => (traces > 0 ? Effect.void : Effect.fail("none" as const))),
    Effect.retry(Schedule.spaced("200 millis").pipe(Schedule.upTo({ duration: patience }))),
    Effect.isSuccess
  )
  if (!arrived)
    book.remark("no figures with traces: this version of Weir accepts `telemetry.traces` but sends no spans")
  return arrived ? subjects : []
})
