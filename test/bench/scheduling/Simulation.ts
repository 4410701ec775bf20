/** Engines, jobs and whoever places them, on a clock that jumps from one event to the next. */
import { Engine, type Finished, type Job, shape } from "./Engine.ts"

/** Who decides: Weir's scheduler, or somebody it is compared with. */
export interface Dispatcher {
  /** The engine's index; `undefined` where nobody can take it now. `tried`: where this job failed before. */
  readonly place: (job: Job, now: number, tried: ReadonlyArray<number>) => number | undefined
  readonly onFirstToken: (job: Job, engine: number, now: number) => void
  readonly onFinished: (job: Job, engine: number, now: number) => void
  readonly onFailed: (job: Job, engine: number, now: number) => void
  /** Once a second: probes, readings of load, whatever watches over the pool. */
  readonly onSecond: (now: number, engines: ReadonlyArray<Engine>) => void
}

/** Something that happens to an engine at a time. */
export interface Incident {
  readonly at: number
  readonly happens: (engines: ReadonlyArray<Engine>) => ReadonlyArray<Job>
}

export interface Served extends Finished {
  readonly engine: number
  readonly attempts: number
}

export interface Outcome {
  readonly served: ReadonlyArray<Served>
  readonly lost: number
  /** Each placement: when, and where. */
  readonly placements: ReadonlyArray<{ readonly at: number; readonly engine: number }>
  /** Requests at each engine, averaged over time. */
  readonly meanLoad: ReadonlyArray<number>
  /** The load of every engine at every second. */
  readonly loads: ReadonlyArray<{ readonly at: number; readonly loads: ReadonlyArray<number> }>
}

export const simulate = (
  speeds: ReadonlyArray<number>,
  jobs: ReadonlyArray<Job>,
  makeDispatcher: (engines: ReadonlyArray<Engine>) => Dispatcher,
  incidents: ReadonlyArray<Incident> = []
): Outcome => {
  const engines = speeds.map((speed, index) => new Engine(`engine-${index}`, speed))
  const dispatcher = makeDispatcher(engines)
  const served: Array<Served> = []
  const placements: Array<{ at: number; engine: number }> = []
  const loads: Array<{ at: number; loads: ReadonlyArray<number> }> = []
  const loadTime = engines.map(() => 0)
  const attempts = new Map<number, Array<number>>()
  let unplaced: Array<Job> = []
  let nextJob = 0
  let nextIncident = 0
  let nextSecond = 1000
  let now = 0

  const place = (job: Job) => {
    const tried = attempts.get(job.id) ?? []
    const engine = dispatcher.place(job, now, tried)
    if (engine === undefined) {
      unplaced.push(job)
      return
    }
    attempts.set(job.id, [...tried, engine])
    placements.push({ at: now, engine })
    const target = engines[engine]
    if (target?.alive === true) target.submit(job, now)
    else fail(job, engine)
  }
  const fail = (job: Job, engine: number) => {
    dispatcher.onFailed(job, engine, now)
    place(job)
  }
  const advance = (to: number) => {
    for (const [index, engine] of engines.entries()) loadTime[index] = (loadTime[index] ?? 0) + engine.load * (to - now)
    now = to
  }
  const step = (engine: Engine, index: number) => {
    const { finished, first } = engine.step()
    for (const job of first) dispatcher.onFirstToken(job, index, now)
    for (const each of finished) {
      dispatcher.onFinished(each.job, index, now)
      served.push({ ...each, engine: index, attempts: attempts.get(each.job.id)?.length ?? 1 })
      attempts.delete(each.job.id)
    }
  }
  const retryUnplaced = () => {
    const waiting = unplaced
    unplaced = []
    for (const job of waiting) place(job)
  }

  while (served.length < jobs.length) {
    let soonest = -1
    let stepAt = Number.POSITIVE_INFINITY
    for (const [index, engine] of engines.entries()) {
      if (engine.stepEndsAt >= stepAt) continue
      stepAt = engine.stepEndsAt
      soonest = index
    }
    const jobAt = jobs[nextJob]?.arrivedAt ?? Number.POSITIVE_INFINITY
    const incidentAt = incidents[nextIncident]?.at ?? Number.POSITIVE_INFINITY
    const next = Math.min(stepAt, jobAt, incidentAt, nextSecond)
    if (next > (jobs.at(-1)?.arrivedAt ?? 0) + 600_000) break
    advance(next)
    if (next === incidentAt) {
      const incident = incidents[nextIncident++]
      const at = engines.map(({ alive }) => alive)
      const lost = incident?.happens(engines) ?? []
      const died = engines.findIndex(({ alive }, index) => at[index] === true && !alive)
      for (const job of lost) fail(job, died)
    } else if (next === nextSecond) {
      nextSecond += 1000
      dispatcher.onSecond(now, engines)
      loads.push({ at: now, loads: engines.map(({ load }) => load) })
      retryUnplaced()
    } else if (next === jobAt) {
      const job = jobs[nextJob++]
      if (job !== undefined) place(job)
    } else {
      const engine = engines[soonest]
      if (engine !== undefined) step(engine, soonest)
    }
  }
  return { served, lost: jobs.length - served.length, placements, loads, meanLoad: loadTime.map((time) => time / now) }
}

/**
 * Requests a second that the engines can do at most, on this kind of work: all of it there at the start, placed where the
 * least is waiting.
 */
export const capacityOf = (speeds: ReadonlyArray<number>, jobs: ReadonlyArray<Job>): number => {
  const atOnce = jobs.map((job) => ({ ...job, arrivedAt: 0 }))
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
  const { served } = simulate(speeds, atOnce, leastWaiting)
  // The ends are cut off: while the batches fill, and while the last ones empty.
  const times = served.map(({ finishedAt }) => finishedAt).toSorted((a, b) => a - b)
  const from = times[Math.floor(times.length * 0.2)] ?? 0
  const to = times[Math.floor(times.length * 0.8)] ?? 1
  return (times.length * 0.6 * 1000) / (to - from)
}

/** Slots of all engines together. */
export const slotsOf = (speeds: ReadonlyArray<number>): number => speeds.length * shape.slots
