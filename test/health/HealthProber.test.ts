import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Layer, Logger, Random } from "effect"
import { TestClock } from "effect/testing"
import { BackendAdapter } from "../../src/backend/BackendAdapter.ts"
import { MonotonicClock } from "../../src/domain/MonotonicClock.ts"
import { HealthProber } from "../../src/health/HealthProber.ts"
import { inProcess } from "../../src/registry/Capacity.ts"
import { Registry, statusOf } from "../../src/registry/Registry.ts"
import { published, verify } from "../backend/ApigGateway.ts"
import { backendOf, configOf, occupy, putInForce } from "../registry/Fixtures.ts"
import { ok, type Reply, ScriptedBackends } from "./ScriptedBackends.ts"

/** No jitter: every interval is what the configuration says. */
const steadyRandom = Layer.succeed(Random.Random, {
  nextIntUnsafe: () => 0,
  nextDoubleUnsafe: () => 0.5
})

interface Scene {
  readonly backends: ScriptedBackends
  readonly registry: Registry["Service"]
  readonly prober: HealthProber["Service"]
  readonly status: (name: string) => string
}

const defaults = { health: { interval: "5s", timeout: "2s", unhealthyAfter: 3, healthyAfter: 1 } }

/** A gateway that probes these backends, a moment after its start. */
const probing = <A>(
  list: ReadonlyArray<object>,
  use: (scene: Scene) => Effect.Effect<A>,
  options: { readonly answer?: (backend: string, path: string) => Reply; readonly random?: typeof steadyRandom } = {}
) =>
  Effect.gen(function* () {
    const backends = new ScriptedBackends()
    if (options.answer !== undefined) backends.answer(options.answer)
    const config = yield* configOf({ ...defaults, backends: withUrls(list) })
    const program = Effect.gen(function* () {
      const registry = yield* Registry
      const prober = yield* HealthProber
      yield* TestClock.adjust(1)
      const status = (name: string) => statusOf(backendOf(registry.current(), name), inProcess, 0)
      return yield* use({ backends, registry, prober, status })
    })
    return yield* Effect.provide(
      program,
      HealthProber.layer.pipe(
        Layer.provideMerge(Layer.mergeAll(BackendAdapter.layer, backends.layer, options.random ?? steadyRandom)),
        Layer.provideMerge(Layer.merge(Registry.layerMemory(config), MonotonicClock.layer))
      )
    )
  })

const withUrls = (list: ReadonlyArray<object>) =>
  list.map((one, index) => ({ url: `http://10.0.0.${index + 1}:8000`, ...one }))

const apply = (registry: Registry["Service"], list: ReadonlyArray<object>) =>
  Effect.gen(function* () {
    yield* Effect.orDie(putInForce(registry, yield* configOf({ ...defaults, backends: withUrls(list) })))
    yield* TestClock.adjust(1)
  })

const a = { name: "a" }
const b = { name: "b" }
const vllm = { name: "v", adapter: "vllm" }
const every = (from: number, step: number, count: number) => Array.from({ length: count }, (_, i) => from + i * step)

describe("every backend", () => {
  it.effect("is probed at once, then at each of its own intervals", () =>
    probing([a, { name: "b", health: { interval: "2s" } }], ({ backends }) =>
      Effect.gen(function* () {
        yield* TestClock.adjust(20_000)
        assert.deepStrictEqual(backends.times("a"), every(0, 5000, 5))
        assert.deepStrictEqual(backends.times("b"), every(0, 2000, 11))
      })
    )
  )

  it.effect("is probed at intervals that are jittered by a fifth, so that many gateways do not beat in time", () =>
    probing(
      [a],
      ({ backends }) =>
        Effect.gen(function* () {
          yield* TestClock.adjust("10 minutes")
          const times = backends.times("a")
          const gaps = times.slice(1).map((at, index) => at - (times[index] ?? 0))
          assert.isAtLeast(Math.min(...gaps), 4000)
          assert.isAtMost(Math.max(...gaps), 6000)
          assert.isAbove(new Set(gaps).size, 10)
        }),
      { random: Layer.empty }
    )
  )

  it.effect("is delayed by no other that hangs", () =>
    probing(
      [a, b, { name: "c" }],
      ({ backends, status }) =>
        Effect.gen(function* () {
          yield* TestClock.adjust(20_000)
          assert.deepStrictEqual(backends.times("b"), every(0, 5000, 5))
          assert.deepStrictEqual(backends.times("c"), every(0, 5000, 5))
          assert.deepStrictEqual([status("a"), status("b"), status("c")], ["unhealthy", "healthy", "healthy"])
        }),
      { answer: (backend) => (backend === "a" ? "silence" : ok) }
    )
  )

  it.effect("a disabled backend is not probed, until it is enabled", () =>
    probing([{ ...a, enabled: false }], ({ backends, registry, status }) =>
      Effect.gen(function* () {
        yield* TestClock.adjust(20_000)
        assert.deepStrictEqual(backends.asked, [])
        assert.strictEqual(status("a"), "disabled")
        yield* apply(registry, [a])
        assert.strictEqual(status("a"), "healthy")
      })
    )
  )

  it.effect("is asked with its own credentials, for its own path", () =>
    probing(
      [
        { ...a, auth: { type: "bearer", token: "t-a" }, health: { path: "/ready" } },
        { name: "v", adapter: "vllm", url: "http://h:1/base/v1", auth: { type: "header", name: "X-Key", value: "k" } },
        { name: "h", adapter: "huawei-apig", url: "https://apig.example.com", auth: { type: "apig", ...published } }
      ],
      ({ backends }) =>
        Effect.sync(() => {
          const asked = (name: string) => backends.asked.filter(({ backend }) => backend === name)
          assert.deepStrictEqual(
            asked("a").map(({ path }) => path),
            ["/ready", "/v1/models"]
          )
          for (const { request } of asked("a")) assert.include(request.headers, "Bearer t-a")
          assert.deepStrictEqual(
            asked("v").map(({ path }) => path),
            ["/base/health", "/base/v1/models", "/base/metrics"]
          )
          for (const { request } of asked("v")) assert.include(request.headers, "k")
          assert.lengthOf(asked("h"), 1)
          for (const { at, request } of asked("h")) {
            const { headers, method, path } = request
            const received = {
              method,
              target: path,
              headers: ["host", "apig.example.com", ...headers],
              body: new Uint8Array()
            }
            assert.isUndefined(verify(received, published, at))
          }
        })
    )
  )
})

describe("a backend that does not answer", () => {
  for (const reply of ["silence", "stall", "refuse", "bug", { status: 500 }] as const) {
    const how = typeof reply === "string" ? reply : `status ${reply.status}`
    it.effect(`is out after unhealthyAfter probes, and comes back by itself at the first good one: ${how}`, () =>
      probing([a], ({ backends, status }) =>
        Effect.gen(function* () {
          assert.strictEqual(status("a"), "healthy")
          backends.answer(() => reply)
          yield* TestClock.adjust(5000 + 2000)
          yield* TestClock.adjust(5000 + 2000)
          assert.strictEqual(status("a"), "healthy")
          yield* TestClock.adjust(5000 + 2000)
          assert.strictEqual(status("a"), "unhealthy")
          yield* TestClock.adjust("1 hour")
          assert.strictEqual(status("a"), "unhealthy")
          backends.answer(() => ok)
          yield* TestClock.adjust(5000 + 2000)
          assert.strictEqual(status("a"), "healthy")
        })
      )
    )
  }

  it.effect("a backend that does not answer from the start is out at once: nothing speaks for it", () =>
    probing([a], ({ status }) => Effect.sync(() => assert.strictEqual(status("a"), "unhealthy")), {
      answer: () => "refuse"
    })
  )

  it.effect("within the time-out is given up then, and not a moment later", () =>
    probing(
      [{ ...a, health: { timeout: "300ms" } }],
      ({ backends, status }) =>
        Effect.gen(function* () {
          yield* TestClock.adjust(298)
          assert.deepStrictEqual([status("a"), backends.released], ["unknown", 0])
          yield* TestClock.adjust(1)
          assert.deepStrictEqual([status("a"), backends.released], ["unhealthy", 1])
        }),
      { answer: () => "silence" }
    )
  )

  it.effect("follows its own thresholds", () =>
    probing([{ ...a, health: { unhealthyAfter: 1, healthyAfter: 3 } }], ({ backends, status }) =>
      Effect.gen(function* () {
        backends.answer(() => "refuse")
        yield* TestClock.adjust(5000)
        assert.strictEqual(status("a"), "unhealthy")
        backends.answer(() => ok)
        yield* TestClock.adjust(10_000)
        assert.strictEqual(status("a"), "unhealthy")
        yield* TestClock.adjust(5000)
        assert.strictEqual(status("a"), "healthy")
      })
    )
  )

  it.effect("a backend that misses probes but delivers tokens all the while is busy, not dead", () =>
    probing([a], ({ backends, registry, status }) =>
      Effect.gen(function* () {
        const { state } = backendOf(registry.current(), "a")
        backends.answer(() => "silence")
        for (let i = 1; i < 60; i++) {
          yield* TestClock.adjust(1000)
          state.health.delivered(i * 1000)
          assert.include(["healthy", "busy"], status("a"))
        }
        assert.strictEqual(status("a"), "busy")
        assert.strictEqual(state.health.standing, "last")
      })
    )
  )

  it.effect("counts in its error rate", () =>
    probing([a], ({ backends, registry }) =>
      Effect.gen(function* () {
        backends.answer(() => "refuse")
        yield* TestClock.adjust(5000)
        assert.strictEqual(backendOf(registry.current(), "a").state.outcomes.failureRate(5000), 0.5)
      })
    )
  )
})

describe("what a backend answers", () => {
  for (const [backend, answer, expected] of [
    [a, { status: 401 }, "misconfigured"],
    [a, { status: 403 }, "misconfigured"],
    [a, { status: 404 }, "healthy"],
    [a, { status: 429 }, "rate_limited"],
    [{ ...a, adapter: "llama-cpp" }, { status: 503, body: { error: { message: "Loading model" } } }, "warming"],
    [{ ...a, adapter: "vllm" }, { status: 503 }, "unhealthy"]
  ] as const) {
    it.effect(
      `${answer.status} of ${"adapter" in backend ? backend.adapter : "an OpenAI server"} makes it ${expected}`,
      () =>
        probing(
          [backend],
          ({ backends, status }) =>
            Effect.gen(function* () {
              assert.strictEqual(status("a"), expected)
              backends.answer(() => ok)
              yield* TestClock.adjust(5000)
              assert.strictEqual(status("a"), "healthy")
            }),
          { answer: () => answer }
        )
    )
  }

  it.effect("is let go after it was read: no exchange is left behind", () =>
    probing(
      [vllm],
      ({ backends }) =>
        Effect.gen(function* () {
          yield* TestClock.adjust(20_000)
          assert.strictEqual(backends.released, backends.asked.length)
        }),
      { answer: (_, path) => (path === "/metrics" ? "stall" : ok) }
    )
  )
})

describe("models", () => {
  const modelsOf = ({ registry }: Scene, name: string) => [
    ...(backendOf(registry.current(), name).state.models?.keys() ?? [])
  ]
  const list = (...ids: ReadonlyArray<string>): Reply => ({ status: 200, body: { data: ids.map((id) => ({ id })) } })

  it.effect("are discovered, and what is derived from them is told when they change", () =>
    probing(
      [a],
      (scene) =>
        Effect.gen(function* () {
          assert.deepStrictEqual(modelsOf(scene, "a"), ["m", "n"])
          const before = scene.registry.modelsVersion()
          yield* TestClock.adjust(5000)
          assert.strictEqual(scene.registry.modelsVersion(), before)
          scene.backends.answer(() => list("n", "o"))
          yield* TestClock.adjust(5000)
          assert.deepStrictEqual(modelsOf(scene, "a"), ["n", "o"])
          assert.isAbove(scene.registry.modelsVersion(), before)
        }),
      { answer: () => list("m", "n") }
    )
  )

  for (const [how, later] of [
    ["cannot be had", { status: 500 }],
    ["is refused", { status: 404 }],
    ["never comes", "silence"]
  ] as const) {
    it.effect(`are kept when a later list ${how}, and the backend stays healthy`, () =>
      probing(
        [vllm],
        (scene) =>
          Effect.gen(function* () {
            assert.deepStrictEqual(modelsOf(scene, "v"), ["m"])
            scene.backends.answer((_, path) => (path === "/v1/models" ? later : { status: 200 }))
            yield* TestClock.adjust(30_000)
            assert.deepStrictEqual(modelsOf(scene, "v"), ["m"])
            assert.strictEqual(scene.status("v"), "healthy")
          }),
        { answer: () => list("m") }
      )
    )
  }

  for (const body of ["<html>", "", { status: "ok" }, { data: {} }, { error: { message: "no" } }, 5] as const) {
    it.effect(`are not to be had from what answers ${JSON.stringify(body)} with 200: it is misconfigured`, () =>
      probing(
        [vllm, a],
        (scene) =>
          Effect.gen(function* () {
            for (const name of ["v", "a"]) assert.strictEqual(scene.status(name), "misconfigured")
            scene.backends.answer(() => list("m"))
            yield* TestClock.adjust(10_000)
            for (const name of ["v", "a"]) assert.strictEqual(scene.status(name), "healthy")
          }),
        { answer: () => ({ status: 200, body }) }
      )
    )
  }

  for (const adapter of ["vllm", "sglang", "llama-cpp"]) {
    it.effect(`are asked for with the credential: one that ${adapter} refuses (401) there is misconfigured`, () =>
      probing(
        [{ name: "e", adapter }],
        (scene) =>
          Effect.gen(function* () {
            assert.strictEqual(scene.status("e"), "misconfigured")
            scene.backends.answer(() => list("m"))
            yield* TestClock.adjust(10_000)
            assert.strictEqual(scene.status("e"), "healthy")
            scene.backends.answer((_, path) => ({ status: path === "/v1/models" ? 403 : 200 }))
            yield* TestClock.adjust(10_000)
            assert.strictEqual(scene.status("e"), "healthy", "the list alone may be forbidden")
          }),
        { answer: (_, path) => ({ status: path === "/v1/models" ? 401 : 200 }) }
      )
    )
  }

  it.effect("are unknown, not none, where they were never told", () =>
    probing(
      [vllm],
      ({ registry, status }) =>
        Effect.sync(() => {
          assert.isUndefined(backendOf(registry.current(), "v").state.models)
          assert.strictEqual(status("v"), "healthy")
        }),
      { answer: (_, path) => (path === "/v1/models" ? { status: 404 } : { status: 200 }) }
    )
  )

  it.effect("models of one backend that cannot be had hide no other backend's", () =>
    probing(
      [a, b],
      (scene) =>
        Effect.gen(function* () {
          yield* TestClock.adjust(10_000)
          assert.deepStrictEqual(modelsOf(scene, "b"), ["m"])
        }),
      { answer: (backend) => (backend === "a" ? "silence" : list("m")) }
    )
  )

  it.effect("configured models are not asked for", () =>
    probing([{ ...vllm, models: ["fixed"] }], ({ backends, registry }) =>
      Effect.sync(() => {
        assert.deepStrictEqual(backends.times("v", "/v1/models"), [])
        assert.isUndefined(backendOf(registry.current(), "v").state.models)
      })
    )
  )

  it.effect("are read from the answer to the probe where that is their list, with one request", () =>
    probing([a], ({ backends }) =>
      Effect.gen(function* () {
        yield* TestClock.adjust(5000)
        assert.deepStrictEqual(backends.times("a"), [0, 5000])
      })
    )
  )

  it.effect("models are known before their backend is called healthy: it gets no request for what it has not", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      yield* probing([vllm], (scene) =>
        Effect.gen(function* () {
          const { backends, registry } = scene
          const slowList = Effect.as(Deferred.await(gate), list("m"))
          yield* apply(registry, [])
          backends.answer((_, path) => (path === "/v1/models" ? slowList : { status: 200 }))
          yield* apply(registry, [vllm])
          assert.strictEqual(scene.status("v"), "unknown")
          yield* Deferred.succeed(gate, undefined)
          yield* TestClock.adjust(1)
          assert.deepStrictEqual([scene.status("v"), ...modelsOf(scene, "v")], ["healthy", "m"])
        })
      )
    })
  )
})

describe("a backend that is watched at a port of its own", () => {
  it.effect("is asked for health and load there, and for its models where it answers", () =>
    probing([{ name: "s", adapter: "llama-balancer", url: "http://10.0.0.9:8080", health: { port: 18000 } }], (scene) =>
      Effect.gen(function* () {
        yield* TestClock.adjust(1)
        const asked = scene.backends.asked.map(({ request }) => new URL(request.backend.url).port + request.path)
        assert.deepStrictEqual(new Set(asked), new Set(["18000/llmhealth", "8080/v1/models"]))
        assert.strictEqual(scene.status("s"), "busy")
      })
    )
  )
})

describe("an engine's load", () => {
  const page = (running: number): Reply => ({
    status: 200,
    body: `vllm:num_requests_running ${running}\nvllm:num_requests_waiting 2\nvllm:kv_cache_usage_perc 0.5\n`
  })

  it.effect("is read with each probe, and with the time at which it was true", () =>
    probing(
      [vllm],
      ({ backends, registry }) =>
        Effect.gen(function* () {
          const { state } = backendOf(registry.current(), "v")
          assert.deepStrictEqual(state.load, { running: 3, waiting: 2, kvCacheUsage: 0.5, foreign: 5, at: 0 })
          backends.answer((_, path) => (path === "/metrics" ? page(7) : ok))
          yield* TestClock.adjust(5000)
          assert.deepInclude(state.load, { running: 7, at: 5000 })
        }),
      { answer: (_, path) => (path === "/metrics" ? page(3) : ok) }
    )
  )

  it.effect("a load that cannot be read leaves what was known, with its age", () =>
    probing(
      [vllm],
      ({ backends, registry, status }) =>
        Effect.gen(function* () {
          backends.answer((_, path) => (path === "/metrics" ? { status: 404 } : ok))
          yield* TestClock.adjust(20_000)
          assert.deepInclude(backendOf(registry.current(), "v").state.load, { running: 3, at: 0 })
          assert.strictEqual(status("v"), "healthy")
        }),
      { answer: (_, path) => (path === "/metrics" ? page(3) : ok) }
    )
  )

  for (const { ours, foreign } of [
    { ours: 0, foreign: 6 },
    { ours: 5, foreign: 1 },
    { ours: 9, foreign: 0 }
  ]) {
    it.effect(`${foreign} of 6 requests are other people's, where ${ours} of ours are there when it answers`, () =>
      Effect.gen(function* () {
        const gate = yield* Deferred.make<void>()
        yield* probing([vllm], ({ backends, registry }) =>
          Effect.gen(function* () {
            const backend = backendOf(registry.current(), "v")
            backends.answer((_, path) => (path === "/metrics" ? Effect.as(Deferred.await(gate), page(4)) : ok))
            yield* TestClock.adjust(5000)
            occupy(backend, ours)
            yield* Deferred.succeed(gate, undefined)
            yield* TestClock.adjust(1)
            assert.deepInclude(backend.state.load, { running: 4, waiting: 2, foreign })
          })
        )
      })
    )
  }
})

describe("a change of the configuration", () => {
  it.effect(
    "ends the probes of a backend that is gone, also one that is under way, and begins those of a new one",
    () =>
      probing(
        [a, b],
        ({ backends, registry, status }) =>
          Effect.gen(function* () {
            yield* TestClock.adjust(1000)
            yield* apply(registry, [{ ...b, url: "http://10.0.0.2:8000" }, { name: "c" }])
            assert.strictEqual(backends.released, 1 + 2, "the hanging probe of a was given up")
            assert.strictEqual(status("c"), "healthy")
            yield* TestClock.adjust(60_000)
            assert.deepStrictEqual(backends.times("a"), [0])
            assert.lengthOf(backends.times("b"), 13)
            assert.deepStrictEqual(backends.times("c").slice(0, 3), [1001, 6001, 11_001])
          }),
        { answer: (backend) => (backend === "a" ? "silence" : ok) }
      )
  )

  it.effect("does not disturb the schedule of a backend that stays what it was", () =>
    probing([a], ({ backends, registry }) =>
      Effect.gen(function* () {
        for (let i = 0; i < 20; i++) {
          yield* TestClock.adjust(999)
          yield* apply(registry, [{ ...a, weight: i + 1 }])
        }
        assert.deepStrictEqual(backends.times("a"), every(0, 5000, 5))
      })
    )
  )

  it.effect("a change that gives a name another address means another backend: it is probed at once", () =>
    probing([a], ({ backends, registry, status }) =>
      Effect.gen(function* () {
        yield* TestClock.adjust(1000)
        backends.answer(() => "refuse")
        yield* apply(registry, [{ ...a, url: "http://10.9.9.9:1" }])
        assert.strictEqual(status("a"), "unhealthy")
        assert.strictEqual(backends.asked.at(-1)?.request.backend.url, "http://10.9.9.9:1")
        yield* TestClock.adjust(5000)
        assert.deepStrictEqual(backends.times("a"), [0, 1001, 6001])
      })
    )
  )

  it.effect("a change of how a backend is probed is followed at once: interval, path, credentials", () =>
    probing([a], ({ backends, registry }) =>
      Effect.gen(function* () {
        const changed = { path: "/other", interval: "1s" }
        yield* apply(registry, [{ ...a, auth: { type: "bearer", token: "new" }, health: changed }])
        yield* TestClock.adjust(2000)
        const later = backends.asked.filter(({ at }) => at > 0)
        assert.deepStrictEqual(
          later.filter(({ path }) => path === "/other").map(({ at }) => at),
          [1, 1001, 2001]
        )
        for (const { request } of later) assert.include(request.headers, "Bearer new")
      })
    )
  )
})

describe("traffic that finds a backend broken", () => {
  it.effect("has it probed at once, and it is back at once if it answers", () =>
    probing([a], ({ backends, registry, status }) =>
      Effect.gen(function* () {
        const { probing: thresholds, state } = backendOf(registry.current(), "a")
        yield* TestClock.adjust(1000)
        backends.answer(() => Effect.delay(Effect.succeed(ok), 10))
        for (let i = 0; i < 3; i++) state.health.broke(thresholds)
        assert.strictEqual(status("a"), "unhealthy")
        yield* TestClock.adjust(10)
        assert.deepStrictEqual(backends.times("a"), [0, 1001])
        assert.strictEqual(status("a"), "healthy")
        yield* TestClock.adjust(5000)
        assert.deepStrictEqual(backends.times("a"), [0, 1001, 6011])
      })
    )
  )

  it.effect("leaves it out as long as it does not answer, at the usual pace", () =>
    probing([a], ({ backends, registry, status }) =>
      Effect.gen(function* () {
        const { probing: thresholds, state } = backendOf(registry.current(), "a")
        backends.answer(() => "refuse")
        yield* TestClock.adjust(1000)
        for (let i = 0; i < 50; i++) state.health.broke(thresholds)
        yield* TestClock.adjust(11_000)
        assert.deepStrictEqual(backends.times("a"), [0, 1001, 6001, 11_001])
        assert.strictEqual(status("a"), "unhealthy")
      })
    )
  )

  it.effect("a failure while a probe is under way has the backend probed once more, right after that", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      yield* probing([a], ({ backends, registry }) =>
        Effect.gen(function* () {
          const { probing: thresholds, state } = backendOf(registry.current(), "a")
          backends.answer(() => Effect.as(Deferred.await(gate), ok))
          yield* TestClock.adjust(5000)
          for (let i = 0; i < 3; i++) state.health.broke(thresholds)
          yield* Deferred.succeed(gate, undefined)
          yield* TestClock.adjust(1)
          assert.deepStrictEqual(backends.times("a"), [0, 5000, 5001])
        })
      )
    })
  )
})

describe("a probe on demand", () => {
  it.effect("returns when what was found has been noted, and leaves the schedule alone", () =>
    probing([a], ({ backends, prober, status }) =>
      Effect.gen(function* () {
        yield* TestClock.adjust(1000)
        backends.answer(() => ({ status: 401 }))
        yield* prober.probe("a")
        assert.strictEqual(status("a"), "misconfigured")
        yield* TestClock.adjust(5000)
        assert.deepStrictEqual(backends.times("a"), [0, 1001, 5000])
      })
    )
  )

  it.effect("a probe on demand of a backend that does not exist does nothing", () =>
    probing([a], ({ backends, prober }) =>
      Effect.gen(function* () {
        yield* prober.probe("nobody")
        assert.lengthOf(backends.asked, 1)
      })
    )
  )
})

it.effect("probing ends with the gateway, and a probe under way is given up", () =>
  Effect.gen(function* () {
    let scripted: ScriptedBackends | undefined
    const exit = yield* Effect.exit(
      probing(
        [a],
        ({ backends }) =>
          Effect.sync(() => {
            scripted = backends
            assert.strictEqual(backends.released, 0)
          }),
        { answer: () => "silence" }
      )
    )
    assert.isTrue(Exit.isSuccess(exit))
    yield* TestClock.adjust("1 minute")
    assert.deepStrictEqual([scripted?.released, scripted?.asked.length], [1, 1])
  })
)

describe("a probe for which we lack descriptors or ports", () => {
  const mixed: ReadonlyArray<object> = [
    { name: "generic" },
    { name: "vllm", adapter: "vllm" },
    { name: "configured", models: ["m"] }
  ]
  for (const backend of mixed) {
    const { name } = { name: "", ...backend }
    it.effect(`says nothing: a healthy backend stays healthy, however long it lasts (${name})`, () =>
      probing([backend], ({ backends, registry, status }) =>
        Effect.gen(function* () {
          yield* TestClock.adjust(10_000)
          assert.strictEqual(status(name), "healthy")
          const { outcomes } = backendOf(registry.current(), name).state
          const rate = outcomes.failureRate(10_000)
          backends.answer(() => "shortage")
          yield* TestClock.adjust("5 minutes")
          assert.isAbove(backends.times(name).length, 40)
          assert.strictEqual(status(name), "healthy")
          assert.strictEqual(outcomes.failureRate(10_000), rate)
        })
      )
    )
  }

  it.effect("makes no backend healthy: one that is down stays down until it can be asked", () =>
    probing([a], ({ backends, status }) =>
      Effect.gen(function* () {
        backends.answer(() => "refuse")
        yield* TestClock.adjust(30_000)
        assert.strictEqual(status("a"), "unhealthy")
        backends.answer(() => "shortage")
        yield* TestClock.adjust(30_000)
        assert.strictEqual(status("a"), "unhealthy")
        backends.answer(() => ok)
        yield* TestClock.adjust(10_000)
        assert.strictEqual(status("a"), "healthy")
      })
    )
  )

  it.effect("leaves a backend that was never asked unknown", () =>
    probing([a], ({ status }) => Effect.sync(() => assert.strictEqual(status("a"), "unknown")), {
      answer: () => "shortage"
    })
  )
})

describe("the log", () => {
  const models: Reply = { status: 200, body: { data: [{ id: "m" }] } }

  it.effect("tells each change of a backend's state once, with what it was, what it is, and why", () => {
    const lines: Array<string> = []
    const logger = Logger.make<unknown, void>(({ logLevel, message }) => {
      const [text, fields] = Array.isArray(message) ? message : [message]
      if (text === "backend changed")
        lines.push(`${logLevel} ${fields.backend} ${fields.from} ${fields.to}: ${fields.reason}`)
    })
    const replies: ReadonlyArray<Reply> = [
      "refuse",
      "silence",
      { status: 500 },
      { status: 401 },
      { status: 200, body: "<html>" }
    ]
    return probing(
      [a, b],
      (scene) =>
        Effect.gen(function* () {
          for (const reply of replies) {
            scene.backends.answer((backend) => (backend === "a" ? reply : models))
            yield* TestClock.adjust(30_000)
          }
          scene.backends.answer(() => models)
          yield* TestClock.adjust(10_000)
          assert.deepStrictEqual(
            lines.filter((line) => line.includes(" a ")),
            [
              "Info a unknown healthy: probe answered with 200",
              "Warn a healthy unhealthy: probe: connect: ECONNREFUSED (3 in a row)",
              "Warn a unhealthy misconfigured: probe answered with 401",
              "Info a misconfigured healthy: probe answered with 200"
            ]
          )
          assert.lengthOf(
            lines.filter((line) => line.includes(" b ")),
            1
          )
        }),
      { answer: () => models }
    ).pipe(Effect.provide(Logger.layer([logger])))
  })
})
