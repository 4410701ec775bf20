/** What is found of backends while they work is told as events: circuits that turn, and ejections. */
import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Logger, Stream } from "effect"
import { TestClock } from "effect/testing"
import { MonotonicClock } from "../../src/domain/MonotonicClock.ts"
import { Registry } from "../../src/registry/Registry.ts"
import { CircuitBreaker } from "../../src/resilience/CircuitBreaker.ts"
import { OutlierDetector } from "../../src/resilience/OutlierDetector.ts"
import { backendOf, configOf } from "../registry/Fixtures.ts"
import { layerTime } from "../Time.ts"
import { layerMetrics } from "../telemetry/TestMetrics.ts"

const backends = ["a", "b", "c", "d"].map((name, index) => ({ name, url: `http://127.0.0.1:${9001 + index}` }))
const config = configOf({ backends, pools: [{ name: "p", backends: ["a", "b", "c", "d"] }] })

const layer = Layer.unwrap(
  Effect.map(config, (decoded) =>
    Layer.mergeAll(CircuitBreaker.layer, OutlierDetector.layer).pipe(
      Layer.provideMerge(Layer.mergeAll(layerTime, Registry.layerMemory(decoded), layerMetrics, Logger.layer([])))
    )
  )
)

/** Collects the first so many of a kind, from now on. */
const collecting = (registry: Registry["Service"], kind: string, count: number) =>
  registry.events.pipe(
    Stream.filter((event) => event.kind === kind),
    Stream.take(count),
    Stream.runCollect,
    (run) => Effect.forkChild(run, { startImmediately: true })
  )

it.effect("a circuit that opens, lets a trial through and closes is told of each time", () =>
  Effect.gen(function* () {
    const registry = yield* Registry
    const breaker = yield* CircuitBreaker
    const seen = yield* collecting(registry, "circuit", 3)
    const backend = backendOf(registry.current(), "a")
    for (let i = 0; i < 5; i++) breaker.end(backend, breaker.begin(backend), "broken")
    yield* TestClock.adjust("1 hour")
    breaker.end(backend, breaker.begin(backend), "success")
    const told = (yield* Fiber.join(seen)).flatMap((event) =>
      event.kind === "circuit" ? [[event.name, event.from, event.to, event.reason]] : []
    )
    assert.deepStrictEqual(told, [
      ["a", "closed", "open", "5 transport errors or time-outs in a row"],
      ["a", "open", "half_open", "its cooldown is over"],
      ["a", "half_open", "closed", "its trial succeeded"]
    ])
  }).pipe(Effect.provide(layer))
)

it.effect("a backend that is ejected is told of, with the reason", () =>
  Effect.gen(function* () {
    const registry = yield* Registry
    const { now } = yield* MonotonicClock
    const seen = yield* collecting(registry, "ejection", 1)
    const { backends: entries } = registry.current()
    for (let second = 0; second < 40; second++) {
      for (const [name, { state }] of entries) {
        const isSlow = name === "c" && second >= 30
        const ends = isSlow ? 1 : 8
        state.requests += Math.max(1, 16 + ends - state.inflight)
        state.inflight = 16
        for (let answer = 0; answer < ends; answer++) state.latency.record(isSlow ? 1500 : 100, now())
      }
      yield* TestClock.adjust("1 second")
    }
    const [event] = yield* Fiber.join(seen)
    assert.deepInclude(event, { kind: "ejection", name: "c", from: "usual", to: "ejected" })
  }).pipe(Effect.provide(layer))
)
