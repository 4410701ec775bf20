/** Engines, jobs and the dispatcher that places them, on a clock that jumps from one event to the next. */
import { Engine, type Finished, type Job } from "./Engine.ts"

/** What decides: Weir's scheduler, or a baseline that it is compared with. */
export interface Dispatcher {
  /** The engine's index; `undefined` where none can take it now. `tried`: where this job failed before. */
  readonly place: (job: Job, now: number, tried: ReadonlyArray<number>) => number | undefined
  readonly onFirstToken: (job: Job, engine: number, now: number) => void
  readonly onFinished: (job: Job, engine: number, now: number) => void
  readonly onFailed: (job: Job, engine: number, now: number) => void
  /** Once a second: probes, readings of load, the outlier detector. */
  readonly onSecond: (now: number, engines: ReadonlyArray<Engine>) => void
}

/** Something that happens to one engine at a time; answers what it had and has lost. */
export interface Incident {
  readonly at: number
  readonly engine: number
  readonly happens: (engine: Engine) => ReadonlyArray<Job>
}

export interface Served extends Finished {
  readonly engine: number
  readonly attempts: number
}

export interface Placement {
  readonly at: number
  readonly engine: number
  /** 1 for a new request, more for one that failed elsewhere. */
  readonly attempt: number
}

export interface Outcome {
  readonly served: ReadonlyArray<Served>
  /** Requests without an answer: those that failed too often, and those that were never placed. */
  readonly lost: number
  /** Requests whose engine died when they had begun to be answered. */
  readonly cut: number
  readonly placements: ReadonlyArray<Placement>
  /** Requests at each engine, averaged over the time from `from` to `to`. */
  readonly meanLoad: ReadonlyArray<number>
  /** The load of every engine at every second. */
  readonly loads: ReadonlyArray<{ readonly at: number; readonly loads: ReadonlyArray<number> }>
}

export interface Setting {
  readonly speeds: ReadonlyArray<number>
  readonly jobs: ReadonlyArray<Job>
  readonly makeDispatcher: (engines: ReadonlyArray<Engine>) => Dispatcher
  readonly incidents?: ReadonlyArray<Incident>
  /** The time that means are taken over. */
  readonly window?: { readonly from: number; readonly to: number }
}

/** What the contract's default is: two more tries after the first. */
const mostAttempts = 3

/** So long after the last arrival everything is over, or never will be. */
const patience = 600_000

export const simulate = (setting: Setting): Outcome => new Run(setting).toEnd()

class Run {
  readonly #jobs: ReadonlyArray<Job>
  readonly #incidents: ReadonlyArray<Incident>
  readonly #window: { readonly from: number; readonly to: number }
  readonly #engines: ReadonlyArray<Engine>
  readonly #dispatcher: Dispatcher
  readonly #served: Array<Served> = []
  readonly #placements: Array<Placement> = []
  readonly #loads: Array<{ at: number; loads: ReadonlyArray<number> }> = []
  readonly #loadTime: Array<number>
  /** Where each job that is under way was sent. */
  readonly #attempts = new Map<number, ReadonlyArray<number>>()
  readonly #begun = new Set<number>()
  #unplaced: Array<Job> = []
  #given = 0
  #cut = 0
  #nextJob = 0
  #nextIncident = 0
  #nextSecond = 1000
  #now = 0

  constructor({ incidents, jobs, makeDispatcher, speeds, window }: Setting) {
    this.#jobs = jobs
    this.#incidents = incidents ?? []
    this.#window = window ?? { from: 0, to: Number.POSITIVE_INFINITY }
    this.#engines = speeds.map((speed, index) => new Engine(`engine-${index}`, speed))
    this.#dispatcher = makeDispatcher(this.#engines)
    this.#loadTime = speeds.map(() => 0)
  }

  toEnd(): Outcome {
    const end = (this.#jobs.at(-1)?.arrivedAt ?? 0) + patience
    while (this.#served.length + this.#given < this.#jobs.length && this.#now < end) this.#next()
    const { from, to } = this.#window
    const measured = Math.min(to, this.#now) - from
    return {
      served: this.#served,
      lost: this.#jobs.length - this.#served.length,
      cut: this.#cut,
      placements: this.#placements,
      loads: this.#loads,
      meanLoad: this.#loadTime.map((time) => time / measured)
    }
  }

  /** What comes first: an incident, a second that is over, a new job, or the end of an engine's step. */
  #next(): void {
    let stepping: Engine | undefined
    let stepAt = Number.POSITIVE_INFINITY
    for (const engine of this.#engines) {
      if (engine.stepEndsAt >= stepAt) continue
      stepAt = engine.stepEndsAt
      stepping = engine
    }
    const job = this.#jobs[this.#nextJob]
    const incident = this.#incidents[this.#nextIncident]
    const jobAt = job?.arrivedAt ?? Number.POSITIVE_INFINITY
    const incidentAt = incident?.at ?? Number.POSITIVE_INFINITY
    const soonest = Math.min(stepAt, jobAt, incidentAt, this.#nextSecond)
    this.#advance(soonest)
    if (incident !== undefined && soonest === incidentAt) this.#happen(incident)
    else if (soonest === this.#nextSecond) this.#second()
    else if (job !== undefined && soonest === jobAt) {
      this.#nextJob++
      this.#place(job)
    } else if (stepping !== undefined) this.#step(stepping)
  }

  #advance(to: number): void {
    const span = Math.min(to, this.#window.to) - Math.max(this.#now, this.#window.from)
    if (span > 0) {
      for (const [index, engine] of this.#engines.entries()) {
        this.#loadTime[index] = (this.#loadTime[index] ?? 0) + engine.load * span
      }
    }
    this.#now = to
  }

  #place(job: Job): void {
    const tried = this.#attempts.get(job.id) ?? []
    const engine = this.#dispatcher.place(job, this.#now, tried)
    if (engine === undefined) {
      this.#unplaced.push(job)
      return
    }
    this.#attempts.set(job.id, [...tried, engine])
    this.#placements.push({ at: this.#now, engine, attempt: tried.length + 1 })
    const target = this.#engines[engine]
    if (target?.alive === true) target.submit(job, this.#now)
    else this.#fail(job, engine)
  }

  #fail(job: Job, engine: number): void {
    this.#dispatcher.onFailed(job, engine, this.#now)
    if ((this.#attempts.get(job.id)?.length ?? 0) >= mostAttempts) this.#given++
    else this.#place(job)
  }

  #happen({ engine, happens }: Incident): void {
    this.#nextIncident++
    const target = this.#engines[engine]
    if (target === undefined) return
    for (const job of happens(target)) {
      if (this.#begun.delete(job.id)) this.#cut++
      this.#fail(job, engine)
    }
  }

  #second(): void {
    this.#nextSecond += 1000
    this.#dispatcher.onSecond(this.#now, this.#engines)
    this.#loads.push({ at: this.#now, loads: this.#engines.map(({ load }) => load) })
    const waiting = this.#unplaced
    this.#unplaced = []
    for (const job of waiting) this.#place(job)
  }

  #step(engine: Engine): void {
    const index = this.#engines.indexOf(engine)
    const { finished, first } = engine.step()
    for (const job of first) {
      this.#begun.add(job.id)
      this.#dispatcher.onFirstToken(job, index, this.#now)
    }
    for (const each of finished) {
      const { id } = each.job
      this.#dispatcher.onFinished(each.job, index, this.#now)
      this.#served.push({ ...each, engine: index, attempts: this.#attempts.get(id)?.length ?? 1 })
      this.#attempts.delete(id)
      this.#begun.delete(id)
    }
  }
}
