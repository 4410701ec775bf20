import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { Capacity, Registry } from "../../src/registry/Registry.ts"
import { Admission } from "../../src/resilience/Admission.ts"
import { layerQueueGauges } from "../../src/resilience/QueueGauges.ts"
import { configOf, putInForce } from "../registry/Fixtures.ts"
import { layerTime } from "../Time.ts"
import { layerMetrics, shown } from "../telemetry/TestMetrics.ts"
import { FakeRequests, Slots } from "./FakeRequests.ts"

const pools = (...names: ReadonlyArray<string>) => configOf({ pools: names.map((name) => ({ name, backends: [] })) })

it.effect("a pool shows how many wait for it, as long as it exists", () =>
  Effect.gen(function* () {
    const services = Layer.mergeAll(
      Registry.layerMemory(yield* pools("p", "q")),
      layerMetrics,
      Capacity.layer,
      layerTime
    )
    const layer = layerQueueGauges.pipe(Layer.provideMerge(Admission.layer), Layer.provideMerge(services))
    const program = Effect.gen(function* () {
      const requests = new FakeRequests(yield* Admission, { pool: "p", maxConcurrent: 1 })
      const registry = yield* Registry
      yield* TestClock.adjust(1)
      const depth = shown("weir_queue_depth")
      assert.deepStrictEqual(yield* depth, { p: 0, q: 0 })
      const slots = new Slots(5)
      const first = yield* requests.come({ slots })
      yield* requests.come({ slots })
      yield* requests.come({ slots })
      assert.deepStrictEqual(yield* depth, { p: 2, q: 0 })
      yield* first.finish
      assert.deepStrictEqual(yield* depth, { p: 1, q: 0 })
      yield* putInForce(registry, yield* pools("q", "r"))
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* depth, { q: 0, r: 0 })
    })
    yield* Effect.provide(program, layer)
  })
)
