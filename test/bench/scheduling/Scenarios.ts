/** What is measured: a kind of work at a share of what the engines can do, and what happens to them meanwhile. */
import { capacityOf } from "./Capacity.ts"
import type { Job } from "./Engine.ts"
import type { Incident } from "./Simulation.ts"
import { type WorkloadName, workloads } from "./Workloads.ts"

export interface Scenario {
  readonly workload: WorkloadName
  /** Share of the capacity, 0 to 1. */
  readonly load: number
  readonly speeds: ReadonlyArray<number>
  readonly jobs: ReadonlyArray<Job>
  readonly incidents: ReadonlyArray<Incident>
  /** What arrives in this time is counted: after the caches have filled. */
  readonly window: { readonly from: number; readonly to: number }
}

/** Milliseconds. */
export const times = {
  warmUp: 20_000,
  measured: 100_000,
  /** d: when an engine turns slow. */
  slowAt: 60_000,
  /** e: when an engine dies, and when it is back. */
  deathAt: 40_000,
  recoversAt: 60_000
}

/** The engine that something happens to. */
export const victim = 3

const slowFactor = 10

const incidentsOf: Record<WorkloadName, ReadonlyArray<Incident>> = {
  equal: [],
  unequal: [],
  conversing: [],
  instructed: [],
  slowing: [
    {
      at: times.slowAt,
      engine: victim,
      happens: (engine) => {
        engine.speed /= slowFactor
        return []
      }
    }
  ],
  dying: [
    { at: times.deathAt, engine: victim, happens: (engine) => engine.die() },
    { at: times.recoversAt, engine: victim, happens: (engine) => engine.revive() }
  ]
}

export const scenario = (workload: WorkloadName, load: number, seed: number): Scenario => {
  const kind = workloads[workload]
  const rate = capacityOf(kind, seed) * load
  const to = times.warmUp + times.measured
  // Arrivals are random: a few too many are made, and those after the end left out.
  const jobs = kind.jobs(rate, Math.ceil((rate * to * 1.1) / 1000), seed).filter(({ arrivedAt }) => arrivedAt < to)
  return {
    workload,
    load,
    speeds: kind.speeds,
    jobs,
    incidents: incidentsOf[workload],
    window: { from: times.warmUp, to }
  }
}
