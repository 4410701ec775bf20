import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Ref } from "effect"
import type { GatewayConfig } from "../../src/domain/GatewayConfig.ts"
import { ChangeRefused, Registry, RegistryStore } from "../../src/registry/Registry.ts"
import { backendOf, configOf, occupy, putInForce } from "./Fixtures.ts"

const one = { name: "a", url: "http://127.0.0.1:9001" }
const two = { name: "b", url: "http://127.0.0.1:9002" }

const withRegistry = <A, E>(input: unknown, use: (registry: Registry["Service"]) => Effect.Effect<A, E>) =>
  Effect.flatMap(configOf(input), (config) =>
    Effect.flatMap(Registry, use).pipe(Effect.provide(Registry.layerMemory(config)))
  )

describe("a change that is applied", () => {
  it.effect("is there for the next request, while a request under way keeps what it began with", () =>
    withRegistry({ backends: [one] }, (registry) =>
      Effect.gen(function* () {
        const before = registry.current()
        const applied = yield* putInForce(registry, yield* configOf({ backends: [one, two] }))
        assert.strictEqual(registry.current(), applied)
        assert.deepStrictEqual([...registry.current().backends.keys()], ["a", "b"])
        assert.deepStrictEqual([...before.backends.keys()], ["a"])
        assert.deepStrictEqual([before.version, applied.version], [1, 2])
      })
    )
  )

  const kept = [
    ["nothing", {}],
    ["its weight", { weight: 7 }],
    ["its limit", { maxConcurrency: 3 }],
    ["its credentials", { auth: { type: "bearer", token: "t" } }],
    ["its time-outs", { timeouts: { idle: "1s" } }],
    ["that it is enabled", { enabled: false }]
  ] as const
  for (const [what, change] of kept) {
    it.effect(`keeps the live state of a backend of which ${what} changed`, () =>
      withRegistry({ backends: [one] }, (registry) =>
        Effect.gen(function* () {
          const { state } = backendOf(registry.current(), "a")
          occupy(backendOf(registry.current(), "a"), 3)
          yield* putInForce(registry, yield* configOf({ backends: [{ ...one, ...change }, two] }))
          assert.strictEqual(backendOf(registry.current(), "a").state, state)
        })
      )
    )
  }

  for (const [what, change] of [
    ["address", { url: "http://127.0.0.1:9009" }],
    ["kind of engine", { adapter: "vllm" }]
  ] as const) {
    it.effect(`gives a backend with another ${what} a fresh state: what was known is of another engine`, () =>
      withRegistry({ backends: [one] }, (registry) =>
        Effect.gen(function* () {
          const { state } = backendOf(registry.current(), "a")
          occupy(backendOf(registry.current(), "a"), 3)
          yield* putInForce(registry, yield* configOf({ backends: [{ ...one, ...change }] }))
          const fresh = backendOf(registry.current(), "a").state
          assert.notStrictEqual(fresh, state)
          assert.deepStrictEqual([fresh.inflight, fresh.health.status], [0, "unknown"])
        })
      )
    )
  }

  it.effect("forgets a backend that was removed: one of that name that comes later starts anew", () =>
    withRegistry({ backends: [one] }, (registry) =>
      Effect.gen(function* () {
        const { state } = backendOf(registry.current(), "a")
        yield* putInForce(registry, yield* configOf({}))
        yield* putInForce(registry, yield* configOf({ backends: [one] }))
        assert.notStrictEqual(backendOf(registry.current(), "a").state, state)
      })
    )
  )

  it.effect("makes what was derived from models stale, as does discovery that says so", () =>
    withRegistry({ backends: [one] }, (registry) =>
      Effect.gen(function* () {
        const first = registry.modelsVersion()
        registry.modelsChanged()
        const second = registry.modelsVersion()
        assert.isAbove(second, first)
        yield* putInForce(registry, yield* configOf({ backends: [one, two] }))
        assert.isAbove(registry.modelsVersion(), second)
      })
    )
  )
})

describe("a change that changes nothing", () => {
  it.effect("leaves the snapshot as it is, but its participants have a look", () =>
    withRegistry({ backends: [one] }, (registry) =>
      Effect.scoped(
        Effect.gen(function* () {
          let looked = 0
          const commit = () => Effect.sync(() => void looked++)
          yield* registry.participate(() => Effect.succeed({ commit, abort: Effect.void }))
          const before = registry.current()
          assert.strictEqual(yield* putInForce(registry, yield* configOf({ backends: [one] })), before)
          assert.strictEqual(looked, 1)
        })
      )
    )
  )

  it.effect("a change of one part leaves the rest the same objects, so that what is kept by them is kept", () =>
    withRegistry({ backends: [one, two], keys: [{ name: "k", key: "s" }] }, (registry) =>
      Effect.gen(function* () {
        const before = registry.current().config
        const { config } = yield* putInForce(
          registry,
          yield* configOf({ backends: [{ ...two, weight: 3 }, one], keys: [{ name: "k", key: "s" }] })
        )
        assert.strictEqual(config.backends[1], before.backends[0])
        assert.notStrictEqual(config.backends[0], before.backends[1])
        assert.strictEqual(config.keys[0], before.keys[0])
        assert.strictEqual(config.listeners[0], before.listeners[0])
        assert.strictEqual(config.limits, before.limits)
      })
    )
  )
})

describe("a participant in changes", () => {
  const part =
    (log: Array<string>, name: string, refuses = false) =>
    (registry: Registry["Service"]) =>
      registry.participate(({ backends }) =>
        Effect.suspend(() => {
          log.push(`${name} prepares ${backends.length}`)
          if (refuses) return Effect.fail(new ChangeRefused({ problems: [{ path: name, message: "cannot" }] }))
          return Effect.succeed({
            commit: ({ version }) => Effect.sync(() => void log.push(`${name} commits ${version}`)),
            abort: Effect.sync(() => void log.push(`${name} aborts`))
          })
        })
      )

  it.effect("is asked before it is in force, and told when it is", () =>
    withRegistry({}, (registry) =>
      Effect.scoped(
        Effect.gen(function* () {
          const log: Array<string> = []
          yield* part(log, "a")(registry)
          yield* part(log, "b")(registry)
          yield* putInForce(registry, yield* configOf({ backends: [one] }))
          assert.deepStrictEqual(log, ["a prepares 1", "b prepares 1", "a commits 2", "b commits 2"])
        })
      )
    )
  )

  it.effect("can refuse it: then nothing changes, and those that were ready are told that nothing comes of it", () =>
    withRegistry({}, (registry) =>
      Effect.scoped(
        Effect.gen(function* () {
          const log: Array<string> = []
          const before = registry.current()
          yield* part(log, "a")(registry)
          yield* part(log, "b", true)(registry)
          yield* part(log, "c")(registry)
          const refused = yield* Effect.flip(putInForce(registry, yield* configOf({ backends: [one] })))
          assert.strictEqual(refused.message, "b: cannot")
          assert.deepStrictEqual(log, ["a prepares 1", "b prepares 1", "a aborts"])
          assert.strictEqual(registry.current(), before)
        })
      )
    )
  )

  it.effect("is not asked any more when it has gone", () =>
    withRegistry({}, (registry) =>
      Effect.gen(function* () {
        const log: Array<string> = []
        yield* Effect.scoped(part(log, "a")(registry))
        yield* putInForce(registry, yield* configOf({ backends: [one] }))
        assert.deepStrictEqual(log, [])
      })
    )
  )
})

describe("the store", () => {
  const withStore = <A, E>(
    save: (config: GatewayConfig) => Effect.Effect<void>,
    use: (registry: Registry["Service"]) => Effect.Effect<A, E>
  ) =>
    Effect.flatMap(configOf({ backends: [one] }), (config) =>
      Effect.flatMap(Registry, use).pipe(
        Effect.provide(Registry.layerNoDeps(config).pipe(Layer.provide(Layer.mock(RegistryStore, { save }))))
      )
    )

  it.effect("has a change before it is seen: what was acknowledged survives", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const saved = yield* Ref.make<ReadonlyArray<number>>([])
      const save = ({ backends }: GatewayConfig) =>
        Ref.update(saved, (all) => [...all, backends.length]).pipe(
          Effect.andThen(backends.length === 2 ? Deferred.await(gate) : Effect.void)
        )
      yield* withStore(save, (registry) =>
        Effect.gen(function* () {
          const next = yield* configOf({ backends: [one, two] })
          const applying = yield* Effect.forkChild(putInForce(registry, next), { startImmediately: true })
          assert.deepStrictEqual(yield* Ref.get(saved), [1, 2])
          assert.strictEqual(registry.current().version, 1)
          yield* Deferred.succeed(gate, undefined)
          yield* Fiber.join(applying)
          assert.strictEqual(registry.current().version, 2)
        })
      )
    })
  )

  it.effect("gets changes one at a time, in the order in which they take effect", () =>
    Effect.gen(function* () {
      const saved = yield* Ref.make<ReadonlyArray<number>>([])
      const save = ({ backends }: GatewayConfig) =>
        Effect.yieldNow.pipe(Effect.andThen(Ref.update(saved, (all) => [...all, backends.length])))
      yield* withStore(save, (registry) =>
        Effect.gen(function* () {
          const configs = yield* Effect.forEach([[], [one, two], [two], [one, two]], (backends) =>
            configOf({ backends })
          )
          const snapshots = yield* Effect.forEach(configs, (config) => putInForce(registry, config), {
            concurrency: "unbounded"
          })
          assert.deepStrictEqual(
            snapshots.map(({ backends, version }) => [version, backends.size]),
            [
              [2, 0],
              [3, 2],
              [4, 1],
              [5, 2]
            ]
          )
          assert.deepStrictEqual(yield* Ref.get(saved), [1, 0, 2, 1, 2])
          assert.strictEqual(registry.current().backends.size, 2)
        })
      )
    })
  )

  it.effect("the store and the registry agree even when the request for the change has gone", () =>
    Effect.gen(function* () {
      const kept = yield* Ref.make(0)
      const entered = yield* Deferred.make<void>()
      const gate = yield* Deferred.make<void>()
      const save = ({ backends }: GatewayConfig) =>
        backends.length < 2
          ? Ref.set(kept, backends.length)
          : Deferred.succeed(entered, undefined).pipe(
              Effect.andThen(Deferred.await(gate)),
              Effect.andThen(Ref.set(kept, backends.length)),
              // A store that is in the middle of its writing finishes it.
              Effect.uninterruptible
            )
      yield* withStore(save, (registry) =>
        Effect.gen(function* () {
          const next = yield* configOf({ backends: [one, two] })
          const applying = yield* Effect.forkChild(putInForce(registry, next))
          yield* Deferred.await(entered)
          const leaving = yield* Effect.forkChild(Fiber.interrupt(applying), { startImmediately: true })
          yield* Deferred.succeed(gate, undefined)
          yield* Fiber.join(leaving)
          assert.strictEqual(registry.current().backends.size, yield* Ref.get(kept))
        })
      )
    })
  )
})
