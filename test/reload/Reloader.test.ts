import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Ref, Result } from "effect"
import { ConfigInvalid, type Loaded } from "../../src/config/ConfigLoader.ts"
import { ChangeRefused, Registry } from "../../src/registry/Registry.ts"
import { Reloader } from "../../src/reload/Reloader.ts"
import type { Metrics } from "../../src/telemetry/Telemetry.ts"
import { configOf } from "../registry/Fixtures.ts"
import { counted, layerMetrics } from "../telemetry/TestMetrics.ts"

const a = { name: "a", url: "http://127.0.0.1:1" }
const b = { name: "b", url: "http://127.0.0.1:2" }

const loadedOf = (input: unknown) =>
  Effect.map(
    configOf(input),
    (config): Loaded => ({
      config,
      file: "weir.yaml",
      files: ["weir.yaml"],
      looks: new Map(),
      said: [{ source: "weir.yaml", names: typeof input === "object" && input !== null ? Object.keys(input) : [] }]
    })
  )

const bad = new ConfigInvalid({
  source: "weir.yaml",
  problems: [
    { path: "backends[0].url", message: "no address", line: 2 },
    { path: "pools", message: "none" }
  ]
})

interface Scene {
  readonly registry: Registry["Service"]
  readonly reloader: Reloader["Service"]
  /** What is loaded from now on. */
  readonly say: (load: Effect.Effect<Loaded, ConfigInvalid>) => Effect.Effect<void>
}

const scene = <A, E>(use: (scene: Scene) => Effect.Effect<A, E, Metrics>) =>
  Effect.gen(function* () {
    const first = yield* loadedOf({ backends: [a] })
    const next = yield* Ref.make<Effect.Effect<Loaded, ConfigInvalid>>(Effect.succeed(first))
    const program = Effect.gen(function* () {
      const registry = yield* Registry
      return yield* use({ registry, reloader: yield* Reloader, say: (load) => Ref.set(next, load) })
    })
    return yield* Effect.provide(
      program,
      Reloader.layer(first, Effect.flatten(Ref.get(next))).pipe(
        Layer.provideMerge(Registry.layerMemory(first.config)),
        Layer.provideMerge(layerMetrics)
      )
    )
  })

describe("a reload", () => {
  it.effect("puts what was loaded into force, and says what is different", () =>
    scene(({ registry, reloader, say }) =>
      Effect.gen(function* () {
        yield* say(loadedOf({ backends: [a, b], server: { workers: 2 } }))
        const reloaded = yield* reloader.reload("api")
        assert.strictEqual(reloaded.snapshot, registry.current())
        assert.deepStrictEqual([...registry.current().backends.keys()], ["a", "b"])
        assert.deepStrictEqual(reloaded.changes, ["backend b added", "server changed"])
        assert.deepStrictEqual(reloaded.awaitingRestart, ["server.workers"])
        // What still waits is said each time, also where nothing else is new.
        const again = yield* reloader.reload("api")
        assert.deepStrictEqual([again.changes, again.awaitingRestart], [[], ["server.workers"]])
      })
    )
  )

  it.effect("a reload of something invalid changes nothing and tells every problem", () =>
    scene(({ registry, reloader, say }) =>
      Effect.gen(function* () {
        const before = registry.current()
        yield* say(Effect.fail(bad))
        assert.deepStrictEqual(yield* Effect.flip(reloader.reload("file")), bad)
        assert.strictEqual(registry.current(), before)
      })
    )
  )

  it.effect("a reload that a participant cannot follow changes nothing and tells why", () =>
    scene(({ registry, reloader, say }) =>
      Effect.scoped(
        Effect.gen(function* () {
          const problems = [{ path: "listeners[0].port", message: "taken" }]
          yield* registry.participate(() => Effect.fail(new ChangeRefused({ problems })))
          const before = registry.current()
          yield* say(loadedOf({ backends: [b] }))
          const refused = yield* Effect.flip(reloader.reload("signal"))
          assert.deepStrictEqual([refused.source, refused.problems], ["weir.yaml", problems])
          assert.strictEqual(registry.current(), before)
        })
      )
    )
  )

  it.effect("does not take the environment alone where there was a file", () =>
    scene(({ registry, reloader, say }) =>
      Effect.gen(function* () {
        const before = registry.current()
        yield* say(Effect.map(loadedOf({}), (loaded) => ({ ...loaded, file: undefined })))
        const refused = yield* Effect.flip(reloader.reload("signal"))
        assert.include(refused.message, "no such file any more")
        assert.strictEqual(registry.current(), before)
      })
    )
  )

  const slips: Record<string, readonly [next: unknown, message: RegExp]> = {
    "is cut off": [{}, /^weir\.yaml: says nothing any more/m],
    "holds a comment alone": [null, /^weir\.yaml: says nothing any more/m],
    "has no backends any more": [{ backends: [], keys: [] }, /^backends: this takes away every backend \(1\)/m],
    "does not speak of backends any more": [{ keys: [] }, /^backends: this takes away every backend \(1\)/m],
    "does not speak of listeners any more": [{ backends: [a] }, /^listeners: this takes away every listener \(1\)/m]
  }
  for (const [what, [next, message]] of Object.entries(slips)) {
    it.effect(`a reload of a file that ${what} is refused and counted, with what applies it; a signal applies it`, () =>
      scene(({ registry, reloader, say }) =>
        Effect.gen(function* () {
          yield* say(loadedOf({ backends: [a], listeners: [{ port: 9000 }], keys: [] }))
          yield* reloader.reload("signal")
          const before = registry.current()
          yield* say(loadedOf(next ?? {}))
          const refused = yield* Effect.flip(reloader.reload("file"))
          assert.match(refused.message, message)
          assert.match(refused.message, /SIGHUP/)
          assert.strictEqual(registry.current(), before)
          assert.deepInclude(yield* counted("weir_config_reloads_total"), { refused: 1 })
          yield* reloader.reload("signal")
          assert.notStrictEqual(registry.current(), before)
        })
      )
    )
  }

  it.effect("a reload of a .env that is gone, where it said something, is refused; a signal applies it", () =>
    scene(({ reloader, say }) =>
      Effect.gen(function* () {
        const withEnv = (names: ReadonlyArray<string>) =>
          Effect.map(loadedOf({ backends: [a] }), (loaded) => ({
            ...loaded,
            said: [...loaded.said, { source: ".env", names }]
          }))
        yield* say(withEnv(["WEIR_API_KEY"]))
        yield* reloader.reload("signal")
        yield* say(withEnv([]))
        assert.match((yield* Effect.flip(reloader.reload("file"))).message, /^\.env: says nothing any more/)
        yield* reloader.reload("signal")
      })
    )
  )

  for (const [what, next] of [
    ["other backends in the place of all", { backends: [b], listeners: [{ port: 9000 }] }],
    ["another port for the only listener", { backends: [a], listeners: [{ port: 8000 }] }],
    ["another name for it", { backends: [a], listeners: [{ port: 9000, name: "other" }] }],
    ["one backend less", { backends: [a], listeners: [{ port: 9000 }] }]
  ] as const) {
    it.effect(`a reload of a file with ${what} is applied`, () =>
      scene(({ reloader, say }) =>
        Effect.gen(function* () {
          yield* say(loadedOf({ backends: [a, { ...b, name: "c" }], listeners: [{ port: 9000 }] }))
          yield* reloader.reload("signal")
          yield* say(loadedOf(next))
          assert.isNotEmpty((yield* reloader.reload("file")).changes)
        })
      )
    )
  }

  it.effect("a reload of a file that never spoke of backends or listeners has nothing to take away", () =>
    scene(({ reloader, say }) =>
      Effect.gen(function* () {
        yield* say(loadedOf({ keys: [] }))
        yield* reloader.reload("signal")
        yield* say(loadedOf({ limits: { maxBodyBytes: 1024 } }))
        assert.deepStrictEqual((yield* reloader.reload("file")).changes, ["limits changed"])
      })
    )
  )

  it.effect("waits for the one before it", () =>
    scene(({ registry, reloader, say }) =>
      Effect.gen(function* () {
        const gate = yield* Deferred.make<void>()
        yield* say(Effect.andThen(Deferred.await(gate), loadedOf({ backends: [b] })))
        const first = yield* Effect.forkChild(reloader.reload("signal"), { startImmediately: true })
        yield* say(loadedOf({ backends: [a, b] }))
        const second = yield* Effect.forkChild(reloader.reload("file"), { startImmediately: true })
        yield* Deferred.succeed(gate, undefined)
        assert.strictEqual((yield* Fiber.join(first)).snapshot.version, 2)
        assert.strictEqual((yield* Fiber.join(second)).snapshot.version, 3)
        assert.strictEqual(registry.current().backends.size, 2)
      })
    )
  )

  it.effect("says what is different from what was in force when it came, not when its files were read", () =>
    scene(({ registry, reloader, say }) =>
      Effect.gen(function* () {
        const gate = yield* Deferred.make<void>()
        yield* say(Effect.andThen(Deferred.await(gate), loadedOf({ backends: [a] })))
        const reloading = yield* Effect.forkChild(reloader.reload("signal"), { startImmediately: true })
        const { backends } = yield* configOf({ backends: [a, b] })
        yield* Effect.orDie(registry.modify((config) => Result.succeed({ ...config, backends })))
        yield* Deferred.succeed(gate, undefined)
        assert.deepStrictEqual((yield* Fiber.join(reloading)).changes, ["backend b removed"])
      })
    )
  )

  it.effect("is counted by what came of it", () =>
    scene(({ reloader, say }) =>
      Effect.gen(function* () {
        yield* reloader.reload("file")
        yield* say(Effect.fail(bad))
        yield* Effect.ignore(reloader.reload("file"))
        yield* say(loadedOf({ backends: [b] }))
        yield* reloader.reload("file")
        yield* reloader.reload("file")
        const counts = yield* counted("weir_config_reloads_total")
        assert.deepStrictEqual(counts, { applied: 1, unchanged: 2, refused: 1 })
      })
    )
  )
})
