/**
 * One circuit for each backend. It opens on the share of failures within a window (once there were enough calls), or
 * on five failures in a row; after the cooldown it lets one trial through, whose outcome decides. It always can close
 * again: where no traffic comes to try it, a good probe of the prober does.
 *
 * Own code instead of `effect/persistence` CircuitBreaker, which has no time window, cannot be asked synchronously
 * while choosing among backends, and costs 6 to 8 µs a call where this costs a fraction of one.
 */
import { Context, Duration, Effect, Layer, Schedule } from "effect"
import {
  type BackendEntry,
  type BackendState,
  type CircuitPhase,
  Registry,
  SlidingWindow
} from "../registry/Registry.ts"
import { Metrics } from "../telemetry/Telemetry.ts"
import { Deadlines } from "./Deadlines.ts"

export type CallResult = "success" | "failure" | "ignored"

const failuresInARow = 5

/** How long a half-open circuit waits for traffic to try it before a good probe may close it. */
const patience = 5_000

export class CircuitBreaker extends Context.Service<
  CircuitBreaker,
  {
    /** To be called with the choice of a backend: answers whether this call is the one trial of a half-open circuit. */
    readonly begin: (backend: BackendEntry) => boolean
    /** To be called exactly once for each `begin`. `ignored`: the call says nothing about the backend. */
    readonly end: (backend: BackendEntry, trial: boolean, result: CallResult) => void
    /** A stream that had ended as a success, since it had begun, broke off after all. */
    readonly brokeOff: (backend: BackendEntry) => void
  }
>()("weir/resilience/CircuitBreaker") {
  static readonly layer = Layer.effect(
    CircuitBreaker,
    Effect.gen(function* () {
      const registry = yield* Registry
      const metrics = yield* Metrics
      const { now } = yield* Deadlines
      const statistics = new WeakMap<BackendState, Statistics>()

      const statisticsOf = ({ config, state }: BackendEntry): Statistics => {
        const known = statistics.get(state)
        const window = Duration.toMillis(config.breaker.window)
        if (known !== undefined && known.span === window) return known
        const made: Statistics = { span: window, window: new SlidingWindow(window), inARow: 0, beforeSuccess: 0 }
        statistics.set(state, made)
        return made
      }

      const turn = (backend: BackendEntry, to: CircuitPhase) => {
        const { circuit } = backend.state
        const from = circuit.phase
        circuit.phase = to
        circuit.trialRunning = false
        if (to === "open") circuit.openUntil = now() + Duration.toMillis(backend.config.breaker.cooldown)
        if (to === "closed") {
          statistics.delete(backend.state)
          circuit.openUntil = 0
          if (from !== "closed") backend.state.backAt = now()
        }
        if (from !== to) metrics.circuitChanges(backend.name, from, to)(1)
      }

      const begin = (backend: BackendEntry): boolean => {
        const { circuit } = backend.state
        if (circuit.phase === "closed") return false
        if (circuit.phase === "open") turn(backend, "half_open")
        circuit.trialRunning = true
        return true
      }

      const end = (backend: BackendEntry, trial: boolean, result: CallResult) => {
        metrics.circuitCalls(backend.name, result)(1)
        const { circuit } = backend.state
        if (trial) {
          circuit.trialRunning = false
          if (result === "failure") turn(backend, "open")
          else if (result === "success") turn(backend, "closed")
          return
        }
        // What began before the circuit opened says nothing about how the backend is now.
        if (result === "ignored" || circuit.phase !== "closed") return
        const counts = statisticsOf(backend)
        counts.window.record(result === "success", now())
        if (result === "failure") return failed(backend, counts)
        counts.beforeSuccess = counts.inARow
        counts.inARow = 0
      }

      const failed = (backend: BackendEntry, counts: Statistics) => {
        counts.inARow++
        if (isTooMuch(counts, backend, now())) turn(backend, "open")
      }

      /** The success that it began as is taken back: it neither thins the failures out nor ends a row of them. */
      const brokeOff = (backend: BackendEntry) => {
        metrics.circuitCalls(backend.name, "failure")(1)
        if (backend.state.circuit.phase !== "closed") return
        const counts = statisticsOf(backend)
        counts.window.failedAfterAll(now())
        counts.inARow = Math.max(counts.inARow, counts.beforeSuccess)
        counts.beforeSuccess = 0
        failed(backend, counts)
      }

      /** Cooldowns that are over become visible, and good probes close what no traffic came to try. */
      const heal = Effect.sync(() => {
        for (const backend of registry.current().backends.values()) {
          const { circuit, health } = backend.state
          if (circuit.phase === "open" && now() >= circuit.openUntil) turn(backend, "half_open")
          const untried = circuit.phase === "half_open" && !circuit.trialRunning
          if (untried && health.lastGoodProbe >= circuit.openUntil + patience) turn(backend, "closed")
        }
      })
      yield* heal.pipe(Effect.repeat(Schedule.spaced("1 second")), Effect.forkScoped)

      return CircuitBreaker.of({ begin, end, brokeOff })
    })
  )
}

interface Statistics {
  readonly span: number
  readonly window: SlidingWindow
  inARow: number
  /** What it was before the newest success. */
  beforeSuccess: number
}

const isTooMuch = ({ inARow, window }: Statistics, { config: { breaker } }: BackendEntry, now: number): boolean =>
  inARow >= failuresInARow || (window.total(now) >= breaker.minRequests && window.failureRate(now) >= breaker.threshold)
