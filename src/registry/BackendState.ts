/**
 * What is true of one backend right now. One object for the life of the backend, shared by every snapshot that holds
 * it and written in place: load is counted at the choice, on every request, and a copy of it would be a lie.
 *
 * Written by: the scheduler `inflight`; the circuit breaker `circuit`; the prober `models` and `load`; the proxy the
 * counters of outcomes; the prober and the proxy both feed `health`. All may read.
 */
import { type EngineLoad, engineLoad, type HealthStatus, type LoadReading, type ModelInfo } from "../domain/Health.ts"
import { HealthMachine, type Thresholds } from "./HealthMachine.ts"
import { LatencyTrack } from "./LatencyTrack.ts"
import type { LoadColumns } from "./LoadColumns.ts"
import { SlidingWindow } from "./SlidingWindow.ts"

export type CircuitPhase = "closed" | "open" | "half_open"

/** The circuit as the scheduler needs to see it; its statistics are the breaker's own affair. */
export interface Circuit {
  phase: CircuitPhase
  /** Monotonic milliseconds from which an open circuit lets a trial through. */
  openUntil: number
  /** Whether the one trial of a half-open circuit is under way. */
  trialRunning: boolean
}

const errorWindowMillis = 60_000

/** How long it is remembered whose fault failures were. */
const faultWindowMillis = 30_000

/** From this share of its own on, a failure of which nothing is known counts: a failing backend is to be found early. */
const minOwnFaultShare = 0.2

/** Whose fault a failure is, as far as that was found. */
export type Fault =
  /** The backend's: another one answered the request well. */
  | "backend"
  /** The request's: other backends failed alike, or refused it. */
  | "request"
  /** Several failed, each in its own way: then it counts against each of them. */
  | "several"
  /** Others could have been asked and were not, since attempts or the retry budget were used up. */
  | "unasked"
  /** Nothing is known, and nothing counts. */
  | "none"

/** How long a backend is asked last for a model that it refused a request for. */
const refusalMillis = 30_000

/** Models with a refusal that are remembered for a backend; their names may be a client's. */
const maxRefusals = 256

/** How long a model that is listed no more is taken for one that may come back. */
const formerModelMillis = 600_000

/** Of these, how many are remembered for a backend. */
const maxFormerModels = 1024

export class BackendState {
  readonly name: string
  readonly health = new HealthMachine()
  readonly circuit: Circuit = { phase: "closed", openUntil: 0, trialRunning: false }
  /** Time to the response head, of answers that count. */
  readonly latency: LatencyTrack
  /** Time to the first output of streams. */
  readonly firstToken = new LatencyTrack()
  /** Outcomes of requests and probes over the last minute. */
  readonly outcomes = new SlidingWindow(errorWindowMillis)
  /** Failures whose fault was found: as successes those that were the request's. */
  readonly #faults = new SlidingWindow(faultWindowMillis)

  /** Of these, how many were given to an instance of a model; only the names that have any. */
  readonly instances = new Map<string, number>()
  /** Attempts since the start of the process. */
  requests = 0
  failures = 0
  /** Monotonic milliseconds until which the backend is left alone. */
  retryAfterUntil = 0
  /** Whether it did not ask for that by a `Retry-After`: then it may be asked all the same where nothing else is left. */
  restIsUnasked = false
  /** Whether its last probe was answered with 429 and a `Retry-After`: then it is left alone until the next one. */
  probeAsksForRest = false
  /** Failures of requests that are not over yet: until it is known whose fault they are, it is asked last. */
  unresolved = 0
  /** Requests under way that it got although it was out. */
  lastResorts = 0
  /** Which models it refused requests for, and the monotonic milliseconds until which it is asked last for them. */
  readonly refusals = new Map<string, number>()
  /** Names that it listed and lists no more, with the monotonic milliseconds at which they went. */
  readonly formerModels = new Map<string, number>()
  /** The last one that could be read, however old. */
  load: EngineLoad | undefined = undefined
  /** How many requests it runs at once, as it was when it last had some waiting; `Infinity` while none was seen to. */
  slots = Number.POSITIVE_INFINITY
  /** Monotonic milliseconds until which it is asked last, since it is far slower than its peers. */
  ejectedUntil = Number.NEGATIVE_INFINITY
  /** Grows with every life of the engine: what a former one had in its cache is gone. */
  generation = 0

  #models: ReadonlyMap<string, ModelInfo> | undefined = undefined
  #inflight = 0
  #recoveredAt = Number.NEGATIVE_INFINITY

  /** Where what choosing compares is told, in the place of this backend; the same ones for all of a registry. */
  readonly columns: LoadColumns
  readonly slot: number

  constructor(name: string, columns: LoadColumns) {
    this.name = name
    this.columns = columns
    const slot = columns.slot(this)
    this.slot = slot
    this.latency = new LatencyTrack((average) => {
      columns.latency[slot] = average
    })
  }

  /** Requests that were given to this backend and have not ended. Never negative. */
  get inflight(): number {
    return this.#inflight
  }

  set inflight(count: number) {
    this.#inflight = count
    this.columns.inflight[this.slot] = count
  }

  /** A place that was taken by `Capacity` is given back. */
  release(): void {
    this.inflight--
  }

  /** Monotonic milliseconds at which it came back to work after it was out of it; long ago where it never was. */
  get recoveredAt(): number {
    return this.#recoveredAt
  }

  set recoveredAt(at: number) {
    this.#recoveredAt = at
    this.columns.recoveredAt[this.slot] = at
  }

  /** What discovery found; `undefined` while it has found nothing. */
  get models(): ReadonlyMap<string, ModelInfo> | undefined {
    return this.#models
  }

  /**
   * What a probe found (see {@link HealthMachine.probed}). A good one ends the cooldown of an open circuit: the next
   * request is its trial. Where it finds a backend alive again that was not, that is another process.
   */
  probed(found: HealthStatus, thresholds: Thresholds, grace: number, now: number, reason?: string): void {
    const before = this.health.status
    this.health.probed(found, thresholds, grace, now, reason)
    const { status } = this.health
    const isWell = (found === "healthy" || found === "busy") && status !== "unhealthy"
    if (isWell) this.circuit.openUntil = Math.min(this.circuit.openUntil, now)
    if (isWell && before === "unhealthy") this.#begun(now)
  }

  /** It is left alone until then. Of two requests that were under way at once, one may have been told of a longer rest. */
  rest(until: number, isAsked: boolean): void {
    if (until < this.retryAfterUntil) return
    this.retryAfterUntil = until
    this.restIsUnasked = !isAsked
  }

  /**
   * Whether a failure counts against it. One that others were not asked about counts, unless nearly all of those that
   * others were asked about were the requests' fault: else a client whose bad requests use the retry budget up would take it
   * from all clients.
   */
  isAtFault(fault: Fault, now: number): boolean {
    switch (fault) {
      case "backend":
      case "request":
        this.#faults.record(fault === "request", now)
        return fault === "backend"
      case "several":
        return true
      case "unasked":
        return this.#faults.total(now) === 0 || this.#faults.failureRate(now) >= minOwnFaultShare
      case "none":
        return false
    }
  }

  /** It refused a request for a model that others may serve. */
  refused(model: string, now: number): void {
    if (this.refusals.size >= maxRefusals) {
      for (const [name, until] of this.refusals) if (until <= now) this.refusals.delete(name)
      if (this.refusals.size >= maxRefusals) this.refusals.clear()
    }
    this.refusals.set(model, now + refusalMillis)
  }

  /** Whether it is asked last for a model, as it refused a request for it a while ago. */
  refuses(model: string | undefined, now: number): boolean {
    return this.refusals.size > 0 && model !== undefined && now < (this.refusals.get(model) ?? 0)
  }

  /** Whether it listed a model a while ago and lists it no more. */
  hadModel(model: string, now: number): boolean {
    return now - (this.formerModels.get(model) ?? Number.NEGATIVE_INFINITY) < formerModelMillis
  }

  /** What it says of its load. An engine can be restarted between two probes without being seen gone. */
  reported(reading: LoadReading, now: number): void {
    const { running, startedAt, waiting = 0 } = reading
    const before = this.load?.startedAt
    if (before !== undefined && startedAt !== undefined && startedAt > before) this.#begun(now)
    this.load = engineLoad(reading, this.inflight, now)
    if (waiting > 0 && running !== undefined) this.slots = running
  }

  /** It is another process than before. */
  #begun(now: number): void {
    this.recoveredAt = now
    this.generation++
    this.slots = Number.POSITIVE_INFINITY
  }

  /** What it lists now. Answers whether the set of names changed. `now`: monotonic milliseconds. */
  setModels(models: ReadonlyMap<string, ModelInfo> | undefined, now: number): boolean {
    const before = this.#models
    this.#models = models
    if (before === undefined || models === undefined) return before !== models
    this.#rememberFormer(before, models, now)
    return before.size !== models.size || [...models.keys()].some((id) => !before.has(id))
  }

  #rememberFormer(before: ReadonlyMap<string, ModelInfo>, models: ReadonlyMap<string, ModelInfo>, now: number): void {
    for (const [name, goneAt] of this.formerModels) {
      if (models.has(name) || now - goneAt >= formerModelMillis) this.formerModels.delete(name)
    }
    for (const name of before.keys()) {
      if (!models.has(name) && this.formerModels.size < maxFormerModels) this.formerModels.set(name, now)
    }
  }
}
