/** What engines can do at most, as the measure of every load. */
import type { Engine } from "./Engine.ts"
import { type Dispatcher, simulate } from "./Simulation.ts"
import type { Workload } from "./Workloads.ts"

const jobCount = 4000

/**
 * Requests a second on this kind of work: all of it there at the start, placed where the least is waiting, without a
 * look at what is cached where.
 */
export const capacityOf = ({ jobs, speeds }: Workload, seed: number): number => {
  const atOnce = jobs(100, jobCount, seed).map((job) => ({ ...job, arrivedAt: 0 }))
  const { served } = simulate({ speeds, jobs: atOnce, makeDispatcher: leastWaiting })
  // The ends are cut off: while the batches fill, and while the last ones empty.
  const times = served.map(({ finishedAt }) => finishedAt).toSorted((a, b) => a - b)
  const from = times[Math.floor(times.length * 0.2)] ?? 0
  const to = times[Math.floor(times.length * 0.8)] ?? 1
  return (times.length * 0.6 * 1000) / (to - from)
}

const leastWaiting = (engines: ReadonlyArray<Engine>): Dispatcher => ({
  place: () => {
    let best = 0
    for (const [index, engine] of engines.entries()) {
      const other = engines[best]
      if (other !== undefined && engine.load / engine.speed < other.load / other.speed) best = index
    }
    return best
  },
  onFirstToken: () => {},
  onFinished: () => {},
  onFailed: () => {},
  onSecond: () => {}
})
