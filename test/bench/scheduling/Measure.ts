/** One run: one dispatcher, on one kind of work at one load. */
import { Effect } from "effect"
import { StrategyName } from "../../../src/domain/Pool.ts"
import { floor } from "./Baselines.ts"
import { type Figures, figuresOf } from "./Figures.ts"
import { makeGateway } from "./Gateway.ts"
import { type Scenario, scenario } from "./Scenarios.ts"
import { simulate } from "./Simulation.ts"
import type { WorkloadName } from "./Workloads.ts"

/** `failover` is left out: it gives all work to one engine, by intention. */
export type Subject = Exclude<StrategyName, "failover"> | "floor"

export const subjects: ReadonlyArray<Subject> = [
  ...StrategyName.literals.filter((name) => name !== "failover"),
  "floor"
]

export const loads: ReadonlyArray<number> = [0.6, 0.85, 0.95]

/** What was measured of a dispatcher; runs it where that has not been done yet. */
export type Measured = (subject: Subject, workload: WorkloadName, load: number) => Effect.Effect<Figures>

/** Each run is made once, and the same seed gives the same figures. */
export const makeMeasured = (seed: number): Measured => {
  const scenarios = new Map<string, Scenario>()
  const found = new Map<string, Figures>()
  const scenarioFor = (workload: WorkloadName, load: number): Scenario => {
    const key = `${workload} ${load}`
    const known = scenarios.get(key)
    if (known !== undefined) return known
    const made = scenario(workload, load, seed)
    scenarios.set(key, made)
    return made
  }
  return Effect.fnUntraced(function* (subject, workload, load) {
    const key = `${subject} ${workload} ${load}`
    const known = found.get(key)
    if (known !== undefined) return known
    const setting = scenarioFor(workload, load)
    const makeDispatcher =
      subject === "floor"
        ? floor
        : yield* Effect.map(makeGateway(subject, setting.speeds, seed), (gateway) => () => gateway)
    const figures = figuresOf(simulate({ ...setting, makeDispatcher }), setting)
    found.set(key, figures)
    return figures
  })
}
