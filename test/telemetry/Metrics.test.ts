import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Metric } from "effect"
import { Exposition } from "../../src/telemetry/Exposition.ts"
import { Metrics } from "../../src/telemetry/Metrics.ts"
import { counted, layerMetrics } from "./TestMetrics.ts"

describe("a counter", () => {
  it.effect("adds up for each combination of its labels", () =>
    Effect.gen(function* () {
      const metrics = yield* Metrics
      metrics.circuitCalls("a", "success")(1)
      metrics.circuitCalls("a", "success")(2)
      metrics.circuitCalls("a", "failure")(1)
      metrics.circuitCalls("b", "success")(1)
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
      metrics.upstreamRequests("a b", "c")(1)
      metrics.upstreamRequests("a", "b c")(1)
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
      assert.strictEqual(metrics.streamEnds("p", "complete"), metrics.streamEnds("p", "complete"))
      assert.notStrictEqual(metrics.streamEnds("p", "complete"), metrics.streamEnds("q", "complete"))
      assert.strictEqual(metrics.queueWait("p"), metrics.queueWait("p"))
    }).pipe(Effect.provide(layerMetrics))
  )
})

describe("the series of metrics", () => {
  it.effect("the metrics of two programs in one process are not shared", () =>
    Effect.gen(function* () {
      const program = (count: number) =>
        Effect.gen(function* () {
          const metrics = yield* Metrics
          metrics.tokens("p", "m", "prompt")(count)
          return yield* counted("weir_tokens_total")
        }).pipe(Effect.provide(Layer.fresh(layerMetrics)))
      assert.deepStrictEqual(yield* program(3), { "p m prompt": 3 })
      assert.deepStrictEqual(yield* program(4), { "p m prompt": 4 })
    })
  )

  it.effect("the metrics of two gateways in one program are not shared either", () =>
    Effect.gen(function* () {
      // As the program composes them: the same layers, once for each gateway.
      const gateway = Metrics.layer.pipe(Layer.provideMerge(Exposition.layerFigures))
      const one = yield* Layer.build(gateway)
      const two = yield* Layer.build(gateway)
      const seen = (context: typeof one) => Effect.provide(counted("weir_tokens_total"), context)
      yield* Effect.map(Metrics, (metrics) => metrics.tokens("p", "m", "prompt")(1)).pipe(Effect.provide(one))
      assert.deepStrictEqual([yield* seen(one), yield* seen(two)], [{ "p m prompt": 1 }, {}])
    })
  )
})
