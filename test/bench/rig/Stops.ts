/** For how long the collector stops a Node process at most, by the process's own account. */
import { Effect } from "effect"
import { BenchFailed } from "./Children.ts"
import { command, type Inspected } from "./Inspector.ts"

const begin = `{
  const { PerformanceObserver } = process.getBuiltinModule("node:perf_hooks")
  const take = (list) => {
    for (const { duration } of list) globalThis.bench.longest = Math.max(globalThis.bench.longest, duration)
  }
  const observer = new PerformanceObserver((list) => take(list.getEntries()))
  globalThis.bench = { longest: 0, end: () => (take(observer.takeRecords()), observer.disconnect()) }
  observer.observe({ entryTypes: ["gc"] })
}`

const end = "globalThis.bench.end(), globalThis.bench.longest"

const evaluate = (inspected: Inspected, expression: string) =>
  command(inspected, "Runtime.evaluate", { expression, returnByValue: true })

/** Runs with the collector watched; answers what came of it, and the longest stop in milliseconds. */
export const watchStops = <A, E, R>(inspected: Inspected, run: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    yield* evaluate(inspected, begin)
    const result = yield* run
    const longestStop = yield* evaluate(inspected, end)
    if (typeof longestStop !== "number") return yield* new BenchFailed({ message: "no stops are told" })
    return { result, longestStop }
  })
