/**
 * One circuit for each backend. It opens on the share of failures within a window (once there were enough calls), or on
 * `consecutive` transport errors and time-outs in a row, before the head of an answer. After the cooldown, or at the first good probe, it lets one trial
 * through, whose outcome decides. It always can close again: where no traffic comes to try it, good probes do.
 *
 * Own code instead of `effect/persistence` CircuitBreaker, which has no time window, cannot be asked synchronously
 * while choosing among backends, and costs 6 to 8 µs a call where this costs a fraction of one.
 */
import { Context, Duration, Effect, Layer, Schedule } from "effect"
import { MonotonicClock } from "../domain/MonotonicClock.ts"
import {
  type BackendEntry,
  type BackendState,
  type CircuitPhase,
  Registry,
  SlidingWindow
} from "../registry/Registry.ts"
import { Metrics, makeLogQueue } from "../telemetry/Telemetry.ts"

/**
 * What a call says of its backend. `failure`: an answer that counts against it; `broken`: a transport error or a
 * time-out before the head, which counts as a failure and towards `consecutive` too; `ignored`: nothing.
 */
export type CallResult = "success" | "failure" | "broken" | "ignored"

/**
 * What a call is to the circuit. `trial`: the one call of a half-open circuit, whose outcome decides; `last_resort`: one
 * that is let through although the circuit does not permit it: its success closes the circuit, its failure changes nothing.
 */
export type CallRole = "usual" | "trial" | "last_resort"

/** How long a half-open circuit waits for traffic to try it before a good probe may close it. */
const untriedMillis = 5_000

interface Transition {
  readonly backend: string
  readonly from: CircuitPhase
  readonly to: CircuitPhase
  readonly reason: string
}

export class CircuitBreaker extends Context.Service<
  CircuitBreaker,
  {
    /** To be called with the choice of a backend. `isLastResort`: it is chosen although its circuit may not permit it. */
    readonly begin: (backend: BackendEntry, isLastResort?: boolean) => CallRole
    /** To be called exactly once for each `begin`, with what that returned. */
    readonly end: (backend: BackendEntry, role: CallRole, result: CallResult) => void
    /** A stream that had ended as a success, since it had begun, failed after all: it broke off, or ended in an error. */
    readonly brokeOff: (backend: BackendEntry) => void
  }
>()("weir/resilience/CircuitBreaker") {
  static readonly layer = Layer.effect(
    CircuitBreaker,
    Effect.gen(function* () {
      const registry = yield* Registry
      const metrics = yield* Metrics
      const clock = yield* MonotonicClock
      const statistics = new WeakMap<BackendState, Statistics>()
      const tell = yield* makeLogQueue(logTransition)

      const statisticsOf = ({ config, state }: BackendEntry): Statistics => {
        const known = statistics.get(state)
        const window = Duration.toMillis(config.breaker.window)
        if (known !== undefined && known.span === window) return known
        const made: Statistics = { span: window, window: new SlidingWindow(window), brokenInARow: 0 }
        statistics.set(state, made)
        return made
      }

      const turn = (backend: BackendEntry, to: CircuitPhase, reason: string, now: number) => {
        const { circuit } = backend.state
        const from = circuit.phase
        circuit.phase = to
        circuit.trialRunning = false
        if (to === "open") circuit.openUntil = now + Duration.toMillis(backend.config.breaker.cooldown)
        if (to === "closed") {
          statistics.delete(backend.state)
          circuit.openUntil = 0
          if (from !== "closed") backend.state.recoveredAt = now
        }
        if (from === to) return
        metrics.circuitChanges({ backend: backend.name, from, to })(1)
        tell({ backend: backend.name, from, to, reason })
        registry.publish({ kind: "circuit", name: backend.name, from, to, reason })
      }

      const halfOpen = (backend: BackendEntry, now: number) => {
        const { circuit, health } = backend.state
        const byProbe = health.lastGoodProbe >= circuit.openUntil
        turn(backend, "half_open", byProbe ? "a probe finds it well" : "its cooldown is over", now)
      }

      const begin = (backend: BackendEntry, isLastResort = false): CallRole => {
        const { circuit } = backend.state
        if (circuit.phase === "closed") return "usual"
        const now = clock.now()
        if (isLastResort && (circuit.trialRunning || now < circuit.openUntil)) return "last_resort"
        if (circuit.phase === "open") halfOpen(backend, now)
        circuit.trialRunning = true
        return "trial"
      }

      const end = (backend: BackendEntry, role: CallRole, result: CallResult) => {
        metrics.circuitCalls({ backend: backend.name, result: result === "broken" ? "failure" : result })(1)
        const { circuit } = backend.state
        const now = clock.now()
        if (role === "trial") {
          circuit.trialRunning = false
          if (result === "success") turn(backend, "closed", "its trial succeeded", now)
          else if (result !== "ignored") turn(backend, "open", "its trial failed", now)
          return
        }
        if (role === "last_resort" && circuit.phase !== "closed") {
          // Where a trial is under way, that decides.
          if (result === "success" && !circuit.trialRunning) {
            turn(backend, "closed", "a request of last resort succeeded", now)
          }
          return
        }
        // What began before the circuit opened says nothing about how the backend is now.
        if (result === "ignored" || circuit.phase !== "closed") return
        const counts = statisticsOf(backend)
        counts.window.record(result === "success", now)
        counts.brokenInARow = result === "broken" ? counts.brokenInARow + 1 : 0
        if (result !== "success") openIfFailing(backend, counts, now)
      }

      const openIfFailing = (backend: BackendEntry, counts: Statistics, now: number) => {
        const reason = whyOpen(counts, backend, now)
        if (reason !== undefined) turn(backend, "open", reason, now)
      }

      /** The success that it began as is taken back, so that it does not thin the failures out. */
      const brokeOff = (backend: BackendEntry) => {
        metrics.circuitCalls({ backend: backend.name, result: "failure" })(1)
        if (backend.state.circuit.phase !== "closed") return
        const counts = statisticsOf(backend)
        const now = clock.now()
        counts.window.failedAfterAll(now)
        openIfFailing(backend, counts, now)
      }

      /** Cooldowns that are over become visible, and good probes close what no traffic came to try. */
      const heal = Effect.sync(() => {
        const now = clock.now()
        for (const backend of registry.current().backends.values()) {
          const { circuit, health } = backend.state
          if (circuit.phase === "open" && now >= circuit.openUntil) halfOpen(backend, now)
          const untried = circuit.phase === "half_open" && !circuit.trialRunning
          if (untried && health.lastGoodProbe >= circuit.openUntil + untriedMillis) {
            turn(backend, "closed", "no request came to try it, and its probes are good", now)
          }
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
  /** Transport errors and time-outs since the last answer. */
  brokenInARow: number
}

/** `undefined`: it stays closed. */
const whyOpen = (
  { brokenInARow, window }: Statistics,
  { config: { breaker } }: BackendEntry,
  now: number
): string | undefined => {
  if (brokenInARow >= breaker.consecutive) return `${brokenInARow} transport errors or time-outs in a row`
  const total = window.total(now)
  if (total < breaker.minRequests || window.failureRate(now) < breaker.threshold) return undefined
  return `${window.failures(now)} of ${total} requests failed`
}

const messages: Record<CircuitPhase, string> = {
  open: "circuit opens",
  half_open: "circuit lets a trial through",
  closed: "circuit closes"
}

const logTransition = ({ to, ...rest }: Transition) => {
  const log = to === "open" ? Effect.logWarning : Effect.logInfo
  return log(messages[to], { ...rest, to })
}
