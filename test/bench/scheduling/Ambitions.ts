/** What scheduling is to be good for, as things that can be measured. */
import { Effect } from "effect"
import { type Figures, meanOf } from "./Figures.ts"
import { type Measured, type Subject, subjects } from "./Measure.ts"
import type { WorkloadName } from "./Workloads.ts"

export interface AmbitionResult {
  readonly ambition: string
  readonly found: string
  readonly met: boolean
}

/** The load at which they are checked. */
const load = 0.85

/** An equal share of new requests among eight; and how far above it a newcomer may be. */
const fairShare = 1 / 8
const stampede = 1.5

export const choosers: ReadonlyArray<Subject> = subjects.filter((subject) => subject !== "floor")

/** Its share of new requests from the tenth second on. */
export const lateShare = ({ slowShares }: Figures): number => meanOf(slowShares.slice(10))

/** Its share of new requests in the first five seconds in which it gets some again. */
export const firstShare = ({ returnShares }: Figures): number => meanOf(returnShares.slice(0, 5))

const atMost = (ambition: string, value: number, limit: number, unit = ""): AmbitionResult => ({
  ambition,
  found: `${value.toFixed(unit === " ms" ? 0 : 3)}${unit}, allowed ${limit.toFixed(unit === " ms" ? 0 : 3)}${unit}`,
  met: value <= limit
})

export const unequalEngines = Effect.fnUntraced(function* (measured: Measured) {
  const at = (subject: Subject) => measured(subject, "unequal", load)
  const [inTurn, inflight, loaded] = [yield* at("round_robin"), yield* at("least_inflight"), yield* at("least_loaded")]
  return [
    atMost(
      "b: p99 TTFT of least_inflight at most 0.3 of round_robin's",
      inflight.ttft.p99,
      0.3 * inTurn.ttft.p99,
      " ms"
    ),
    atMost("b: p99 TTFT of least_loaded no worse than least_inflight's", loaded.ttft.p99, inflight.ttft.p99, " ms")
  ]
})

export const conversations = Effect.fnUntraced(function* (measured: Measured) {
  const at = (subject: Subject) => measured(subject, "conversing", load)
  const [inflight, prefix, floor] = [yield* at("least_inflight"), yield* at("prefix_aware"), yield* at("floor")]
  return [
    atMost(
      "c: mean TTFT of prefix_aware at most half of least_inflight's",
      prefix.ttft.mean,
      inflight.ttft.mean / 2,
      " ms"
    ),
    atMost("c: p99 TTFT of prefix_aware no worse", prefix.ttft.p99, inflight.ttft.p99, " ms"),
    atMost("c: share of the floor's cache hits that prefix_aware lacks", 1 - prefix.hitRate / floor.hitRate, 0.1),
    atMost("c: busiest engine with prefix_aware at most 1.3 of the mean load", prefix.imbalance, 1.3)
  ]
})

/** A prefix that all requests share must not bring them all to a few engines. */
export const oneApplication = Effect.fnUntraced(function* (measured: Measured) {
  const at = (subject: Subject) => measured(subject, "instructed", load)
  const [inflight, prefix] = [yield* at("least_inflight"), yield* at("prefix_aware")]
  return [
    atMost(
      "f: mean TTFT of prefix_aware at most 1.1 of least_inflight's",
      prefix.ttft.mean,
      1.1 * inflight.ttft.mean,
      " ms"
    )
  ]
})

/** For each strategy. */
const each = (
  workload: WorkloadName,
  measured: Measured,
  check: (figures: Figures, subject: Subject) => AmbitionResult
) =>
  Effect.forEach(choosers, (subject) =>
    Effect.map(measured(subject, workload, load), (figures) => check(figures, subject))
  )

export const slowEngine = (measured: Measured) =>
  each("slowing", measured, (figures, subject) =>
    atMost(`d: the slow engine's share with ${subject} after 10 s`, lateShare(figures), 0.03)
  )

export const dyingEngine = Effect.fnUntraced(function* (measured: Measured) {
  const lost = yield* each("dying", measured, (figures, subject) =>
    atMost(`e: requests lost with ${subject}`, figures.lost, 0)
  )
  const returning = yield* each("dying", measured, (figures, subject) =>
    atMost(`e: the returning engine's share with ${subject} in 5 s`, firstShare(figures), stampede * fairShare)
  )
  return [...lost, ...returning]
})

export const allAmbitions = (measured: Measured) =>
  Effect.map(
    Effect.all([
      unequalEngines(measured),
      conversations(measured),
      slowEngine(measured),
      dyingEngine(measured),
      oneApplication(measured)
    ]),
    (ambitionResults) => ambitionResults.flat()
  )
