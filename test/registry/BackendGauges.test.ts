import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { MonotonicClock } from "../../src/domain/MonotonicClock.ts"
import { layerBackendGauges } from "../../src/registry/BackendGauges.ts"
import { Capacity, Registry } from "../../src/registry/Registry.ts"
import { layerMetrics, shown } from "../telemetry/TestMetrics.ts"
import { backendOf, configOf, occupy, putInForce, setCircuit } from "./Fixtures.ts"

const limits = { unhealthyAfter: 1, healthyAfter: 1 }

const backends = (...names: ReadonlyArray<string>) =>
  configOf({ backends: names.map((name, index) => ({ name, url: `http://127.0.0.1:${9001 + index}` })) })

const withGauges = <A>(use: (registry: Registry["Service"]) => Effect.Effect<A>) =>
  Effect.gen(function* () {
    const layer = layerBackendGauges.pipe(
      Layer.provideMerge(
        Layer.mergeAll(
          Registry.layerMemory(yield* backends("a", "b")),
          layerMetrics,
          MonotonicClock.layer,
          Capacity.layer
        )
      )
    )
    const program = Effect.gen(function* () {
      yield* TestClock.adjust(1)
      return yield* use(yield* Registry)
    })
    return yield* Effect.provide(program, layer)
  })

describe("a backend's gauges", () => {
  it.effect("show what is true at the time of the scrape", () =>
    withGauges((registry) =>
      Effect.gen(function* () {
        const { state } = backendOf(registry.current(), "a")
        occupy(backendOf(registry.current(), "a"), 3)
        state.latency.record(250, 0)
        state.outcomes.record(false, 0)
        state.outcomes.record(true, 0)
        setCircuit(state, { phase: "open" })
        assert.deepStrictEqual(yield* shown("weir_backend_inflight"), { a: 3, b: 0 })
        assert.deepStrictEqual(yield* shown("weir_backend_ewma_latency_seconds"), { a: 0.25, b: 0 })
        assert.deepStrictEqual(yield* shown("weir_backend_error_rate"), { a: 0.5, b: 0 })
        assert.deepStrictEqual(yield* shown("weir_circuitbreaker_state"), { a: 2, b: 0 })
        setCircuit(state, { phase: "half_open" })
        assert.deepStrictEqual(yield* shown("weir_circuitbreaker_state"), { a: 1, b: 0 })
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(yield* shown("weir_backend_error_rate"), { a: 0, b: 0 })
      })
    )
  )

  it.effect("count as healthy what can serve, and not what was never probed", () =>
    withGauges((registry) =>
      Effect.gen(function* () {
        const { state } = backendOf(registry.current(), "a")
        const healthy = shown("weir_backend_healthy")
        assert.deepStrictEqual(yield* healthy, { a: 0, b: 0 })
        state.health.probed("healthy", limits, 0, 0)
        assert.deepStrictEqual(yield* healthy, { a: 1, b: 0 })
        setCircuit(state, { phase: "open" })
        assert.deepStrictEqual(yield* healthy, { a: 1, b: 0 })
        state.health.probed("misconfigured", limits, 0, 0)
        assert.deepStrictEqual(yield* healthy, { a: 0, b: 0 })
      })
    )
  )

  it.effect("come and go with the backends, and follow one that was replaced", () =>
    withGauges((registry) =>
      Effect.gen(function* () {
        occupy(backendOf(registry.current(), "a"), 3)
        yield* Effect.orDie(putInForce(registry, yield* backends("c", "a")))
        yield* TestClock.adjust(1)
        assert.deepStrictEqual(yield* shown("weir_backend_inflight"), { a: 0, c: 0 })
        occupy(backendOf(registry.current(), "a"), 5)
        assert.deepStrictEqual(yield* shown("weir_backend_inflight"), { a: 5, c: 0 })
        yield* Effect.orDie(putInForce(registry, yield* backends()))
        yield* TestClock.adjust(1)
        for (const name of ["inflight", "healthy", "ewma_latency_seconds", "error_rate"]) {
          assert.deepStrictEqual(yield* shown(`weir_backend_${name}`), {})
        }
        assert.deepStrictEqual(yield* shown("weir_circuitbreaker_state"), {})
      })
    )
  )
})
