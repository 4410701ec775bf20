/** Requests and whole answers: by size of the prompt, by number of connections, and at a fixed rate. */
import { Effect } from "effect"
import type { UnaryJob } from "../load/Job.ts"
import type { Subject } from "../rig/Subjects.ts"
import { CurrentPlan, caseId, largeAnswer, largeConnections, usualConnections, usualPrompt } from "./Plan.ts"
import { bareMaximum, measureRounds } from "./Rounds.ts"

export interface Cast {
  /** What every case has. */
  readonly always: ReadonlyArray<Subject>
  /** The upstream alone: no subject can do more. */
  readonly ceiling: Subject
  /** Other configurations of Weir, which are measured only in the cases that the ambitions' results look at. */
  readonly configured: ReadonlyArray<Subject>
}

const everybody = ({ always, ceiling, configured }: Cast): ReadonlyArray<Subject> => [...always, ceiling, ...configured]

/**
 * Sizes at the usual number of connections and connections at the usual size: the two have little to do with each
 * other, and a whole grid would cost the rounds that make the figures worth something.
 */
export const measureUnary = Effect.fnUntraced(function* (cast: Cast) {
  const plan = yield* CurrentPlan
  const points = [
    [usualPrompt, usualConnections] as const,
    ...plan.prompts.filter((bytes) => bytes !== usualPrompt).map((bytes) => [bytes, usualConnections] as const),
    ...plan.connections.filter((count) => count !== usualConnections).map((count) => [usualPrompt, count] as const)
  ]
  for (const [bodyBytes, connections] of points) {
    const isUsual = bodyBytes === usualPrompt && connections === usualConnections
    yield* measureRounds(isUsual ? everybody(cast) : cast.always, {
      section: "unary",
      id: caseId.unary(bodyBytes, connections),
      rounds: isUsual ? plan.rounds : plan.otherRounds,
      shown: "cpuMicros",
      job: unaryJob({ bodyBytes, connections, warmup: 120, window: plan.window })
    })
  }
})

/** Answers that are relayed piece by piece, with a length: what a megabyte costs. */
export const measureLarge = Effect.fnUntraced(function* ({ always, ceiling }: Cast) {
  const plan = yield* CurrentPlan
  const load = { bodyBytes: usualPrompt, answerBytes: largeAnswer, connections: largeConnections }
  yield* measureRounds([...always, ceiling], {
    section: "large",
    id: caseId.large,
    rounds: plan.otherRounds,
    shown: "cpuMicrosPerMegabyte",
    job: unaryJob({ ...load, warmup: 300, window: plan.window * 2 })
  })
})

/** What all subjects are asked alike. */
export const unaryJob =
  (load: Pick<UnaryJob, "bodyBytes" | "answerBytes" | "connections" | "warmup" | "window" | "rate">) =>
  ({ headers, pids, port }: Subject): UnaryJob => ({ kind: "unary", port, headers, pids, ...load })

/** Requests a second that every subject can do, so that the figures are of latency and not of a queue. */
const calmRate = 2000

/**
 * At half of what the bare proxy can do, where a gateway that costs twice as much is saturated; and at a rate at which
 * none is.
 */
export const measureOpenLoop = Effect.fnUntraced(function* (cast: Cast, bare: Subject) {
  const plan = yield* CurrentPlan
  if (!plan.fixedRates) return
  const half = Math.floor((yield* bareMaximum(bare)) / 2)
  const usual = { bodyBytes: usualPrompt, connections: usualConnections, warmup: 200, window: plan.window * 2 }
  const shown = { section: "open", shown: "p50" } as const
  yield* measureRounds(cast.always, {
    ...shown,
    id: caseId.open,
    rounds: plan.rounds,
    job: unaryJob({ ...usual, rate: half })
  })
  yield* measureRounds(cast.always, {
    ...shown,
    id: caseId.calm,
    rounds: plan.otherRounds,
    job: unaryJob({ ...usual, rate: calmRate })
  })
})
