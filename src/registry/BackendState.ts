/**
 * What is true of one backend right now. One object for the life of the backend, shared by every snapshot that holds
 * it and written in place: load is counted at the choice, on every request, and a copy of it would be a lie.
 *
 * Who writes what: the scheduler `inflight`; the circuit breaker `circuit`; the prober `models` and `load`; the proxy the
 * counters of outcomes; the prober and the proxy both feed `health`. Everybody reads.
 */
import { type EngineLoad, engineLoad, type HealthStatus, type LoadReading, type ModelInfo } from "../domain/Health.ts"
import { HealthMachine, type Thresholds } from "./HealthMachine.ts"
import { LatencyTrack } from "./LatencyTrack.ts"
import type { Scoreboard } from "./Scoreboard.ts"
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

const errorWindow = 60_000

export class BackendState {
  readonly name: string
  readonly health = new HealthMachine()
  readonly circuit: Circuit = { phase: "closed", openUntil: 0, trialRunning: false }
  /** Time to the response head, of answers that count. */
  readonly latency: LatencyTrack
  /** Time to the first output of streams. */
  readonly firstToken = new LatencyTrack()
  /** Outcomes of requests and probes over the last minute. */
  readonly outcomes = new SlidingWindow(errorWindow)

  /** Of these, how many were given to an instance of a model; only the names that have any. */
  readonly instances = new Map<string, number>()
  /** Attempts since the start of the process. */
  requests = 0
  failures = 0
  /** Monotonic milliseconds until which the backend asked to be left alone. */
  restUntil = 0
  /** The last one that could be read, however old. */
  load: EngineLoad | undefined = undefined
  /** How many requests it runs at once, as it was when it last had some waiting; `Infinity` while none was seen to. */
  slots = Number.POSITIVE_INFINITY
  /** Monotonic milliseconds until which it is asked last, since it is far slower than its peers. */
  setBackUntil = Number.NEGATIVE_INFINITY
  /** Grows with every life of the engine: what a former one had in its cache is gone. */
  generation = 0

  #models: ReadonlyMap<string, ModelInfo> | undefined = undefined
  #inflight = 0
  #backAt = Number.NEGATIVE_INFINITY

  /** Where what choosing compares is told, in the place of this backend; the same board for all of a registry. */
  readonly board: Scoreboard
  readonly seat: number

  constructor(name: string, board: Scoreboard) {
    this.name = name
    this.board = board
    const seat = board.seat(this)
    this.seat = seat
    this.latency = new LatencyTrack((average) => {
      board.latency[seat] = average
    })
  }

  /** Requests that were given to this backend and have not ended. Never negative. */
  get inflight(): number {
    return this.#inflight
  }

  set inflight(count: number) {
    this.#inflight = count
    this.board.inflight[this.seat] = count
  }

  /** Monotonic milliseconds at which it came back to work after it was out of it; long ago where it never was. */
  get backAt(): number {
    return this.#backAt
  }

  set backAt(at: number) {
    this.#backAt = at
    this.board.backAt[this.seat] = at
  }

  /** What discovery found; `undefined` while it has found nothing. */
  get models(): ReadonlyMap<string, ModelInfo> | undefined {
    return this.#models
  }

  /**
   * What a probe found (see {@link HealthMachine.probed}). Where it finds a backend alive again that was not, what the
   * circuit remembers is about another process: its cooldown is over, and the next request is its trial.
   */
  probed(found: HealthStatus, thresholds: Thresholds, grace: number, now: number): void {
    const before = this.health.status
    this.health.probed(found, thresholds, grace, now)
    const { status } = this.health
    const isBack = before === "unhealthy" && (status === "healthy" || status === "busy")
    if (!isBack) return
    this.circuit.openUntil = Math.min(this.circuit.openUntil, now)
    this.#begun(now)
  }

  /** What it says of its load. An engine can be restarted between two probes without anybody seeing it gone. */
  reported(reading: LoadReading, now: number): void {
    const { running, startedAt, waiting = 0 } = reading
    const before = this.load?.startedAt
    if (before !== undefined && startedAt !== undefined && startedAt > before) this.#begun(now)
    this.load = engineLoad(reading, this.inflight, now)
    if (waiting > 0 && running !== undefined) this.slots = running
  }

  /** It is another process than before. */
  #begun(now: number): void {
    this.backAt = now
    this.generation++
    this.slots = Number.POSITIVE_INFINITY
  }

  /** Answers whether the set of names changed. */
  setModels(models: ReadonlyMap<string, ModelInfo> | undefined): boolean {
    const before = this.#models
    this.#models = models
    if (before === undefined || models === undefined) return before !== models
    return before.size !== models.size || [...models.keys()].some((id) => !before.has(id))
  }
}
