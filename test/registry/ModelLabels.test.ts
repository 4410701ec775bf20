/** Which names of models the metrics know, for how long, and that nothing outside makes them many. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { MonotonicClock } from "../../src/domain/MonotonicClock.ts"
import { ModelLabels } from "../../src/registry/ModelLabels.ts"
import { Registry } from "../../src/registry/Registry.ts"
import { Metrics } from "../../src/telemetry/Telemetry.ts"
import { counted, layerMetrics } from "../telemetry/TestMetrics.ts"
import { backendOf, configOf, putInForce } from "./Fixtures.ts"

const a = { name: "a", url: "http://127.0.0.1:1" }
const b = { name: "b", url: "http://127.0.0.1:2" }

interface Scene {
  readonly registry: Registry["Service"]
  readonly labels: ModelLabels["Service"]
  readonly metrics: Metrics["Service"]
  /** What a backend lists from now on. */
  readonly list: (backend: string, names: Iterable<string>) => void
  readonly of: (model: string | undefined, backend?: string) => string
  readonly change: (config: unknown) => Effect.Effect<unknown>
}

const scene = <A, E>(config: unknown, use: (scene: Scene) => Effect.Effect<A, E>) =>
  Effect.gen(function* () {
    const first = yield* configOf(config)
    const program = Effect.gen(function* () {
      const registry = yield* Registry
      const labels = yield* ModelLabels
      return yield* use({
        registry,
        labels,
        metrics: yield* Metrics,
        list: (backend, names) => {
          backendOf(registry.current(), backend).state.setModels(
            new Map([...names].map((name) => [name, { id: name, created: 0, ownedBy: "a" }])),
            0
          )
        },
        of: (model, backend = "a") => labels.of(backendOf(registry.current(), backend), model),
        change: (next) => Effect.orDie(Effect.flatMap(configOf(next), (config) => putInForce(registry, config)))
      })
    })
    return yield* Effect.provide(
      program,
      ModelLabels.layer.pipe(
        Layer.provideMerge(Registry.layerMemory(first)),
        Layer.provideMerge(Layer.merge(layerMetrics, MonotonicClock.layer))
      )
    )
  })

const hour = TestClock.adjust("61 minutes")

describe("the label of a model", () => {
  it.effect("a model is a label where the configuration names it: for a backend, in a rule, as a fallback", () =>
    scene(
      {
        backends: [{ ...a, models: ["own"] }],
        models: [
          { match: "gpt-4o", upstreamModel: "qwen" },
          { match: String.raw`llama3\.1`, fallbacks: ["small", "smaller"] },
          { match: "any-.*", upstreamModel: "one" }
        ],
        telemetry: { maxModelLabels: 0 }
      },
      ({ of }) =>
        Effect.sync(() => {
          for (const name of ["own", "gpt-4o", "qwen", "llama3.1", "small", "smaller", "one"]) {
            assert.strictEqual(of(name), name)
          }
          for (const name of ["any-thing", "any-.*", "unknown", undefined, ""]) assert.strictEqual(of(name), "other")
        })
    )
  )

  it.effect("a model is a label where a backend lists it and answers for it; a client's invention is none", () =>
    scene({ backends: [a, b] }, ({ list, of }) =>
      Effect.sync(() => {
        list("a", ["m"])
        assert.deepStrictEqual([of("m"), of("m2"), of("m".repeat(1000))], ["m", "other", "other"])
        list("a", ["m".repeat(1000)])
        assert.strictEqual(of("m".repeat(1000)), "other")
      })
    )
  )

  it.effect("up to the limit, however many a backend lists, and the limit can be changed", () =>
    scene({ backends: [a] }, ({ change, list, of }) =>
      Effect.gen(function* () {
        const names = Array.from({ length: 100_000 }, (_, index) => `m-${index}-x`)
        list("a", names)
        const labels = new Set(names.map((name) => of(name)))
        assert.strictEqual(labels.size, 201)
        assert.strictEqual(of("m-3-x"), "m-3-x")
        yield* change({ backends: [a], telemetry: { maxModelLabels: 3 } })
        yield* hour
        assert.strictEqual(new Set(names.map((name) => of(name))).size, 4)
      })
    )
  )
})

describe("names that are gone", () => {
  it.effect("make room after an hour: new names at every probe stay within the limit, and are followed", () =>
    scene({ backends: [a], telemetry: { maxModelLabels: 10 } }, ({ list, metrics, of }) =>
      Effect.gen(function* () {
        const labels = new Set<string>()
        for (let probe = 0; probe < 100; probe++) {
          const names = Array.from({ length: 10 }, (_, index) => `p${probe}-${index}`)
          list("a", names)
          for (const name of names) {
            labels.add(of(name))
            metrics.tokens({ pool: "default", model: of(name), kind: "prompt" })(1)
          }
          yield* TestClock.adjust("1 minute")
          assert.isAtMost(Object.keys(yield* counted("weir_tokens_total")).length, 31)
        }
        assert.isAbove(labels.size, 11)
      })
    )
  )

  it.effect("keep their place and their count when they are back within the hour", () =>
    scene({ backends: [a], pools: [{ name: "default", backends: ["a"] }] }, ({ list, metrics, of }) =>
      Effect.gen(function* () {
        list("a", ["m"])
        metrics.tokens({ pool: "default", model: of("m"), kind: "prompt" })(5)
        list("a", [])
        yield* TestClock.adjust("50 minutes")
        list("a", ["m"])
        yield* TestClock.adjust("50 minutes")
        metrics.tokens({ pool: "default", model: of("m"), kind: "prompt" })(1)
        assert.deepStrictEqual(yield* counted("weir_tokens_total"), { "default m prompt": 6 })
      })
    )
  )

  it.effect(
    "names of models, backends, pools and listeners take their series with them; they begin at 0 when they are back",
    () => {
      const full = {
        backends: [a, b],
        pools: [
          { name: "p", backends: ["a"] },
          { name: "q", backends: ["b"] }
        ],
        listeners: [
          { name: "one", port: 1 },
          { name: "two", port: 2 }
        ],
        models: [{ match: "alias", pool: "p" }]
      }
      const less = { backends: [a], pools: [{ name: "p", backends: ["a"] }], listeners: [{ name: "one", port: 1 }] }
      return scene(full, ({ change, metrics }) =>
        Effect.gen(function* () {
          const record = () => {
            for (const pool of ["p", "q"]) {
              metrics.tokens({ pool, model: "alias", kind: "prompt" })(1)
              metrics.tokens({ pool, model: "other", kind: "prompt" })(1)
              metrics.queueWait({ pool })(1)
              metrics.streamEnds({ pool, end: "complete" })(1)
            }
            for (const backend of ["a", "b"]) metrics.upstreamRequests({ pool: "p", backend })(1)
            for (const listener of ["one", "two", "admin"])
              metrics.httpRequests({ listener, route: "other", method: "GET", status: "200" })(1)
          }
          record()
          record()
          const held = metrics.interToken({ pool: "q", model: "alias" })
          held(1)
          yield* change(less)
          yield* TestClock.adjust("59 minutes")
          assert.deepStrictEqual(yield* counted("weir_upstream_requests_total"), { "p a": 2, "p b": 2 })
          yield* TestClock.adjust("5 minutes")
          // What outlived its names brings nothing back.
          held(1)
          assert.deepStrictEqual(yield* counted("weir_upstream_requests_total"), { "p a": 2 })
          assert.deepStrictEqual(yield* counted("weir_tokens_total"), { "p other prompt": 2 })
          assert.deepStrictEqual(yield* counted("weir_stream_ends_total"), { "p complete": 2 })
          assert.deepStrictEqual(yield* counted("weir_http_requests_total"), {
            "one other GET 200": 2,
            "admin other GET 200": 2
          })
          yield* change(full)
          record()
          assert.deepStrictEqual(yield* counted("weir_upstream_requests_total"), { "p a": 3, "p b": 1 })
          assert.deepInclude(yield* counted("weir_tokens_total"), { "q alias prompt": 1 })
        })
      )
    }
  )

  it.effect("leave no text of theirs in what is scraped", () =>
    scene({ backends: [{ ...a, name: "gone-backend" }] }, ({ change, metrics }) =>
      Effect.gen(function* () {
        metrics.upstreamDuration({ pool: "default", backend: "gone-backend" })(1)
        metrics.circuitChanges({ backend: "gone-backend", from: "closed", to: "open" })(1)
        yield* change({ backends: [a] })
        yield* hour
        yield* TestClock.adjust("5 minutes")
        assert.deepStrictEqual(yield* counted("weir_circuitbreaker_state_changes_total"), {})
      })
    )
  )
})
