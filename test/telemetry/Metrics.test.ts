import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Effect, Layer, Metric } from "effect"
import { Exposition } from "../../src/telemetry/Exposition.ts"
import type { families } from "../../src/telemetry/Families.ts"
import { Metrics } from "../../src/telemetry/Metrics.ts"
import { counted, layerMetrics } from "./TestMetrics.ts"

describe("a counter", () => {
  it.effect("adds up for each combination of its labels", () =>
    Effect.gen(function* () {
      const metrics = yield* Metrics
      metrics.circuitCalls({ backend: "a", result: "success" })(1)
      metrics.circuitCalls({ backend: "a", result: "success" })(2)
      metrics.circuitCalls({ backend: "a", result: "failure" })(1)
      metrics.circuitCalls({ backend: "b", result: "success" })(1)
      assert.deepStrictEqual(yield* counted("weir_circuitbreaker_calls_total"), {
        "a success": 3,
        "a failure": 1,
        "b success": 1
      })
    }).pipe(Effect.provide(layerMetrics))
  )

  it.effect("does not mix up labels that look alike when joined", () =>
    Effect.gen(function* () {
      const metrics = yield* Metrics
      metrics.upstreamRequests({ pool: "a b", backend: "c" })(1)
      metrics.upstreamRequests({ pool: "a", backend: "b c" })(1)
      const series = yield* Metric.snapshot
      assert.lengthOf(
        series.filter(({ id }) => id === "weir_upstream_requests_total"),
        2
      )
    }).pipe(Effect.provide(layerMetrics))
  )

  it.effect("is found again and not made again: one handle for each series", () =>
    Effect.gen(function* () {
      const metrics = yield* Metrics
      assert.strictEqual(
        metrics.streamEnds({ pool: "p", end: "complete" }),
        metrics.streamEnds({ pool: "p", end: "complete" })
      )
      assert.notStrictEqual(
        metrics.streamEnds({ pool: "p", end: "complete" }),
        metrics.streamEnds({ pool: "q", end: "complete" })
      )
      assert.strictEqual(metrics.queueWait({ pool: "p" }), metrics.queueWait({ pool: "p" }))
    }).pipe(Effect.provide(layerMetrics))
  )
})

describe("the labels of a family", () => {
  it("are named, each by its own name, and all of them: anything else does not compile", () => {
    type LabelsOf<Name extends Exclude<keyof typeof families, "overhead">> = Parameters<Metrics["Service"][Name]>[0]
    expectTypeOf<LabelsOf<"retries">>().toEqualTypeOf<Readonly<Record<"pool" | "reason", string>>>()
    expectTypeOf<LabelsOf<"queueWait">>().toEqualTypeOf<Readonly<Record<"pool", string>>>()
    expectTypeOf<{ pool: string }>().not.toExtend<LabelsOf<"retries">>()
    expectTypeOf<{ pool: string; backend: string }>().not.toExtend<LabelsOf<"retries">>()
    expectTypeOf<[string, string]>().not.toExtend<LabelsOf<"retries">>()
  })

  it.effect("may be written in any order", () =>
    Effect.gen(function* () {
      const metrics = yield* Metrics
      metrics.retries({ pool: "p", reason: "hedge" })(1)
      metrics.retries({ reason: "hedge", pool: "p" })(1)
      assert.deepStrictEqual(yield* counted("weir_retries_total"), { "p hedge": 2 })
    }).pipe(Effect.provide(layerMetrics))
  )
})

describe("the series of metrics", () => {
  it.effect("the metrics of two programs in one process are not shared", () =>
    Effect.gen(function* () {
      const program = (count: number) =>
        Effect.gen(function* () {
          const metrics = yield* Metrics
          metrics.tokens({ pool: "p", model: "m", kind: "prompt" })(count)
          return yield* counted("weir_tokens_total")
        }).pipe(Effect.provide(Layer.fresh(layerMetrics)))
      assert.deepStrictEqual(yield* program(3), { "p m prompt": 3 })
      assert.deepStrictEqual(yield* program(4), { "p m prompt": 4 })
    })
  )

  it.effect("the metrics of two gateways in one program are not shared either", () =>
    Effect.gen(function* () {
      // As the program composes them: the same layers, once for each gateway.
      const gateway = Metrics.layer.pipe(Layer.provideMerge(Exposition.layerRegistry))
      const one = yield* Layer.build(gateway)
      const two = yield* Layer.build(gateway)
      const seen = (context: typeof one) => Effect.provide(counted("weir_tokens_total"), context)
      yield* Effect.map(Metrics, (metrics) => metrics.tokens({ pool: "p", model: "m", kind: "prompt" })(1)).pipe(
        Effect.provide(one)
      )
      assert.deepStrictEqual([yield* seen(one), yield* seen(two)], [{ "p m prompt": 1 }, {}])
    })
  )
})
