/** What probes find is told as events: a backend's health, and the models that it lists. */
import { assert, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { TestClock } from "effect/testing"
import { BackendAdapter } from "../../src/backend/BackendAdapter.ts"
import { MonotonicClock } from "../../src/domain/MonotonicClock.ts"
import { HealthProber } from "../../src/health/HealthProber.ts"
import { Registry, type RegistryEvent } from "../../src/registry/Registry.ts"
import { configOf } from "../registry/Fixtures.ts"
import { ok, type Reply, ScriptedBackends } from "./ScriptedBackends.ts"

const lists = (...ids: ReadonlyArray<string>): Reply => ({ status: 200, body: { data: ids.map((id) => ({ id })) } })

it.effect("a backend that lists models, then others, then dies is told of in that order, with the reasons", () =>
  Effect.gen(function* () {
    const backends = new ScriptedBackends()
    let models = lists("m", "n")
    let health: Reply = ok
    backends.answer((_, path) => (path === "/v1/models" ? models : health))
    const config = yield* configOf({
      health: { interval: "5s", timeout: "2s", unhealthyAfter: 1 },
      backends: [{ name: "v", adapter: "vllm", url: "http://10.0.0.1:8000" }]
    })
    const told: Array<RegistryEvent> = []
    const probing = Effect.gen(function* () {
      yield* TestClock.adjust("1 second")
      models = lists("n", "o", "p")
      yield* TestClock.adjust("6 seconds")
      health = "refuse"
      yield* TestClock.adjust("6 seconds")
    }).pipe(Effect.provide(HealthProber.layer.pipe(Layer.provide([BackendAdapter.layer, backends.layer]))))
    yield* Effect.gen(function* () {
      const { events } = yield* Registry
      const hear = Stream.runForEach(events, (event) => Effect.sync(() => told.push(event)))
      yield* Effect.forkChild(hear, { startImmediately: true })
      yield* probing
    }).pipe(Effect.provide([Registry.layerMemory(config), MonotonicClock.layer]))
    const changes = told.flatMap((event) =>
      event.kind === "dropped" ? [] : [[event.kind, event.name, event.from, event.to, event.reason]]
    )
    assert.deepStrictEqual(changes, [
      ["models", "v", 0, 2, "lists m, n"],
      ["health", "v", "unknown", "healthy", "probe answered with 200"],
      ["models", "v", 2, 3, "lists o, p; lists no more m"],
      ["health", "v", "healthy", "unhealthy", "probe: connect: ECONNREFUSED (1 in a row)"]
    ])
  })
)
