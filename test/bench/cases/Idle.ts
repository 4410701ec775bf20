/** What open streams that say nothing cost, and whether it is given back. */
import { Effect } from "effect"
import { residentMiB } from "../load/Cpu.ts"
import { Book } from "../report/Book.ts"
import { BenchFailed, Rig } from "../rig/Children.ts"
import { collectGarbage } from "../rig/Collector.ts"
import { Generator } from "../rig/Generator.ts"
import type { Subject } from "../rig/Subjects.ts"
import { CurrentPlan, caseId } from "./Plan.ts"
import { progress } from "./Progress.ts"
import { settle } from "./Rounds.ts"

/** A proxy needs two files for a stream, and some for itself. */
const filesForItself = 200

/** How long a subject has, under a trickle of requests, to give memory back of its own accord. */
const afterMillis = 1000

/**
 * `subject` and `upstream` are fresh processes: what an earlier case left in their memory would stand in the figures,
 * and the ports of ended connections are blocked for a while. Memory is read after a collection of garbage, since what
 * has not been collected yet says more about the collector than about streams; `untouched` is what a user sees
 * some seconds after the end, without one.
 */
export const measureIdle = Effect.fnUntraced(function* (subject: Subject, upstream: number, twice: boolean) {
  const plan = yield* CurrentPlan
  const { machine } = yield* Rig
  const book = yield* Book
  const streams = Math.min(plan.idleStreams, Math.floor((machine.openFiles - filesForItself) / 2))
  if (streams < plan.idleStreams) {
    book.remark(`${caseId.idle}: ${streams}, since a process may have no more than ${machine.openFiles} files open`)
  }
  yield* progress(`${caseId.idle}, ${subject.name}: warming up`)
  // Once before it counts: pools, tables and the code have then had their first growth.
  yield* trickle(subject, 500)
  yield* hold(subject, Math.floor(streams / 10))
  yield* release(upstream)
  const before = yield* heldMemory(subject)
  const { failed = 0, open = 0, seconds = 0 } = yield* hold(subject, streams)
  const during = yield* heldMemory(subject)
  const { left = 0 } = yield* release(upstream)
  yield* trickle(subject, afterMillis)
  const untouched = residentMiB(subject.pids)
  const after = yield* heldMemory(subject)
  const perStream = open > 0 ? { perStreamKiB: ((during - before) * 1024) / open } : {}
  const figures = { open, failed, left, seconds, before, during, untouched, after, ...perStream }
  const secondTime = twice ? yield* onceMore(subject, upstream, streams, after) : {}
  book.add("idle", caseId.idle, subject.name, { ...figures, afterRatio: after / before, ...secondTime })
  yield* progress(`${caseId.idle}, ${subject.name}: ${figures.perStreamKiB?.toFixed(1)} KiB each of ${open}`)
})

/** An allocator keeps pages for later, a leak takes new ones. */
const onceMore = Effect.fnUntraced(function* (subject: Subject, upstream: number, streams: number, after: number) {
  yield* hold(subject, streams)
  yield* release(upstream)
  yield* trickle(subject, afterMillis)
  const again = yield* heldMemory(subject)
  return { again, againRatio: again / after }
})

/** Resident memory in MiB, without garbage where the subject is a Node process. */
const heldMemory = Effect.fnUntraced(function* ({ inspected, pids }: Subject) {
  yield* settle(pids)
  // Twice: finalisers of the first round make garbage for the second.
  if (inspected !== undefined) yield* Effect.andThen(collectGarbage(inspected), collectGarbage(inspected))
  return residentMiB(pids)
})

const hold = Effect.fnUntraced(function* (subject: Subject, streams: number) {
  const generator = yield* Generator
  const { headers, pids, port } = subject
  yield* progress(`${caseId.idle}, ${subject.name}: opening ${streams}`)
  return yield* generator.run({ kind: "hold", port, headers, pids, streams })
})

/** The upstream ends its streams in order, as an engine does. */
const release = Effect.fnUntraced(function* (upstream: number) {
  const generator = yield* Generator
  yield* Effect.tryPromise({
    try: (signal) => fetch(`http://127.0.0.1:${upstream}/bench/release`, { method: "POST", signal }),
    catch: (cause) => new BenchFailed({ message: `the upstream did not let go: ${String(cause)}` })
  })
  return yield* generator.run({ kind: "release" })
})

/** A few requests: without any, a collector has no reason to run. */
const trickle = Effect.fnUntraced(function* ({ headers, pids, port }: Subject, window: number) {
  const generator = yield* Generator
  yield* generator.run({
    kind: "unary",
    port,
    headers,
    pids,
    connections: 8,
    bodyBytes: 2048,
    rate: 500,
    warmup: 0,
    window
  })
})
