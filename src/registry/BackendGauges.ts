/** Metrics of backends that are read when they are asked for, for every backend that exists at that time. */
import { Effect, Layer } from "effect"
import { MonotonicClock } from "../domain/MonotonicClock.ts"
import { Metrics } from "../telemetry/Telemetry.ts"
import type { CircuitPhase } from "./BackendState.ts"
import { statusOf } from "./BackendStatus.ts"
import { Capacity } from "./Capacity.ts"
import { Registry } from "./Registry.ts"
import type { BackendEntry } from "./Snapshot.ts"

const phases: Record<CircuitPhase, number> = { closed: 0, half_open: 1, open: 2 }

const healthy = new Set(["healthy", "busy", "degraded"])

/** Keeps the gauges in step with the snapshots. */
export const layerBackendGauges = Layer.effectDiscard(
  Effect.gen(function* () {
    const registry = yield* Registry
    const metrics = yield* Metrics
    const clock = yield* MonotonicClock
    const capacity = yield* Capacity
    // Entries are new with each snapshot; their series stay the same.
    const observed = new Map<string, ReadonlyArray<() => void>>()

    const observe = (name: string): ReadonlyArray<() => void> => {
      const read = (of: (backend: BackendEntry) => number) => () => {
        const backend = registry.current().backends.get(name)
        return backend === undefined ? 0 : of(backend)
      }
      const gauge = (id: string, description: string, of: (backend: BackendEntry) => number) =>
        metrics.observe(id, description, { backend: name }, read(of))
      return [
        gauge(
          "weir_backend_inflight",
          "Requests given to the backend that have not ended",
          ({ state }) => state.inflight
        ),
        gauge("weir_backend_healthy", "1 where the backend can serve", (backend) =>
          healthy.has(statusOf(backend, capacity, clock.now())) ? 1 : 0
        ),
        gauge(
          "weir_backend_ewma_latency_seconds",
          "Moving average of the time to the response head",
          ({ state }) => state.latency.average / 1000
        ),
        gauge("weir_backend_error_rate", "Failures over requests and probes of the last minute", ({ state }) =>
          state.outcomes.failureRate(clock.now())
        ),
        gauge("weir_circuitbreaker_state", "0 closed, 1 half open, 2 open", ({ state }) => phases[state.circuit.phase])
      ]
    }
    yield* registry.follow(({ backends }) =>
      Effect.sync(() => {
        for (const [name, ends] of observed) {
          if (backends.has(name)) continue
          for (const end of ends) end()
          observed.delete(name)
        }
        for (const name of backends.keys()) if (!observed.has(name)) observed.set(name, observe(name))
      })
    )
  })
)
