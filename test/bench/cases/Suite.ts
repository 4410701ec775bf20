/** The whole run: which processes stand for which part, and in which order. */
import { Effect } from "effect"
import { Book } from "../report/Book.ts"
import { type Subject, startBare, startNginx, startUpstream, startWeir } from "../rig/Subjects.ts"
import { startTraced } from "../rig/Traced.ts"
import { measureIdle } from "./Idle.ts"
import { CurrentPlan } from "./Plan.ts"
import { warmUp } from "./Rounds.ts"
import { measureScale } from "./Scale.ts"
import { measureStartup } from "./Startup.ts"
import { measureStreams } from "./Streams.ts"
import { measureLarge, measureOpenLoop, measureUnary } from "./Unary.ts"

export const parts = ["unary", "streams", "idle", "startup", "scale"] as const
export type Part = (typeof parts)[number]

/** Measures the parts into the {@link Book}, and answers which subject each name stands for. */
export const measureParts = Effect.fnUntraced(function* (chosen: ReadonlyArray<Part>) {
  const upstream = yield* startUpstream
  const loaded =
    chosen.includes("unary") || chosen.includes("streams") ? yield* Effect.scoped(measureLoaded(chosen, upstream)) : []
  if (chosen.includes("idle")) yield* measureMemory
  if (chosen.includes("startup")) yield* measureStartup(upstream.port)
  if (chosen.includes("scale")) yield* Effect.scoped(measureScale(upstream.port))
  return loaded.map(({ name, what }) => ({ name, what }))
})

const weirDefault = (upstream: number) => startWeir("weir", "Weir, default configuration", { upstream })

const weirFull = (upstream: number) =>
  startWeir("weir-full", "Weir with keys, their limits, stickiness and a limit for each address", {
    upstream,
    everything: true
  })

const noNginx = "nginx is not installed (Debian's package nginx-light), and so not among the subjects"

/** Processes that live through both parts and take turns. */
const measureLoaded = Effect.fnUntraced(function* (chosen: ReadonlyArray<Part>, upstream: Subject) {
  const book = yield* Book
  const bare = yield* startBare(upstream.port)
  const nginx = yield* startNginx(upstream.port)
  const weir = yield* weirDefault(upstream.port)
  const full = yield* weirFull(upstream.port)
  const { traces, warmingRequests } = yield* CurrentPlan
  const traced = traces ? yield* startTraced(upstream.port) : []
  if (nginx === undefined) book.remark(noNginx)
  const always = [bare, ...(nginx === undefined ? [] : [nginx]), weir]
  const cast = { always, ceiling: upstream, configured: [full, ...traced] }
  yield* warmUp([...always, upstream, full], { requests: warmingRequests, streams: true })
  if (chosen.includes("unary")) {
    yield* measureUnary(cast)
    yield* measureLarge(cast)
    yield* measureOpenLoop(cast, bare)
  }
  if (chosen.includes("streams")) yield* measureStreams(cast)
  return [upstream, ...always, ...cast.configured]
})

/** Each with an upstream of its own; two of them, since the kernel looks long for so many free ports. */
const measureMemory = Effect.gen(function* () {
  const { idleTwice } = yield* CurrentPlan
  for (const start of [startBare, weirDefault]) {
    yield* Effect.scoped(
      Effect.gen(function* () {
        const { port } = yield* startUpstream
        yield* measureIdle(yield* start(port), port, idleTwice && start === weirDefault)
      })
    )
  }
})
