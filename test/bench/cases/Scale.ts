/** Whether many backends, keys or rules make a request dearer. */
import { Effect, Result } from "effect"
import { Book } from "../report/Book.ts"
import { acceptsConfig, type Subject, startWeir } from "../rig/Subjects.ts"
import type { WeirOptions } from "../rig/WeirConfig.ts"
import { CurrentPlan, caseId, usualConnections, usualPrompt } from "./Plan.ts"
import { progress } from "./Progress.ts"
import { measureRounds, warmUp } from "./Rounds.ts"
import { unaryJob } from "./Unary.ts"

/** Names of the subjects, by which the ambitions' results look them up. */
export const scaleSubject = (count: number, what: "backends" | "keys" | "rules"): string =>
  `weir, ${count.toLocaleString("en")} ${count === 1 ? what.slice(0, -1) : what}`

export const measureScale = Effect.fnUntraced(function* (upstream: number) {
  const plan = yield* CurrentPlan
  const book = yield* Book
  const subjects: Array<Subject> = []
  const start = Effect.fnUntraced(function* (count: number, what: "backends" | "keys" | "rules", options: WeirOptions) {
    const name = scaleSubject(count, what)
    yield* progress(`starting ${name}`)
    const started = yield* Effect.result(startWeir(name, `Weir with ${name.slice(6)}, otherwise default`, options))
    // One that does not come up is a figure too, and no reason to lose the others.
    if (Result.isFailure(started)) return book.remark(`scale: ${name}: ${started.failure.message}`)
    subjects.push(started.success)
    book.add("startup", `start of ${name}`, "weir", { startSeconds: started.success.startSeconds })
  })
  yield* start(1, "backends", { upstream })
  for (const backends of plan.scale.backends) yield* start(backends, "backends", { upstream, backends })
  for (const keys of plan.scale.keys) yield* start(keys, "keys", { upstream, keys })
  if (yield* acceptsConfig("rules", { upstream, rules: 1 })) {
    for (const rules of plan.scale.rules) yield* start(rules, "rules", { upstream, rules })
  } else book.remark("scale: no case for model rules, this version of Weir refuses `models`")
  // Long enough for every backend to have been connected to.
  yield* warmUp(subjects, { requests: plan.warmingRequests, streams: false })
  yield* measureRounds(subjects, {
    section: "scale",
    id: caseId.scale,
    rounds: plan.rounds,
    shown: "cpuMicros",
    job: unaryJob({ connections: usualConnections, bodyBytes: usualPrompt, warmup: 120, window: plan.window })
  })
})
