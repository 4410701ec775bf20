/** Edits of the configuration in force: all of them are kept, and each is valid, or changes nothing. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Option, Redacted, Result } from "effect"
import { ConfigInvalid } from "../../src/domain/ConfigInvalid.ts"
import type { GatewayConfig } from "../../src/domain/GatewayConfig.ts"
import { ChangeRefused, Registry, RegistryStore, StoreFailed } from "../../src/registry/Registry.ts"
import { backendOf, configOf, must } from "./Fixtures.ts"

type Service = Registry["Service"]

const withRegistry = <A, E>(input: unknown, use: (registry: Service) => Effect.Effect<A, E>) =>
  Effect.flatMap(configOf(input), (config) =>
    Effect.flatMap(Registry, use).pipe(Effect.provide(Registry.layerMemory(config)))
  )

const one = { name: "a", url: "http://127.0.0.1:9001" }
const engine = (name: string) => ({ ...one, name })
const decoded = Effect.fnUntraced(function* (name: string) {
  const { backends } = yield* configOf({ backends: [engine(name)] })
  return must(backends[0])
})

/** An addition that reads, thinks, and only then writes. */
const adding = (name: string) => (config: GatewayConfig) =>
  Effect.gen(function* () {
    yield* Effect.yieldNow
    return { ...config, backends: [...config.backends, yield* decoded(name)] }
  })

const names = (registry: Service) => [...registry.current().backends.keys()]

describe("an edit", () => {
  it.effect("is in force when it returns, and says what was before", () =>
    withRegistry({ backends: [one] }, (registry) =>
      Effect.gen(function* () {
        const { before, snapshot } = yield* registry.modify(adding("b"))
        assert.strictEqual(snapshot, registry.current())
        assert.deepStrictEqual([before.version, snapshot.version], [1, 2])
        assert.deepStrictEqual([...snapshot.backends.keys()], ["a", "b"])
      })
    )
  )

  it.effect("beside another is kept, as is the other: two concurrent additions are both kept", () =>
    withRegistry({ backends: [one] }, (registry) =>
      Effect.gen(function* () {
        const edits = ["b", "c", "d"].map((name) => registry.modify(adding(name)))
        yield* Effect.all(edits, { concurrency: "unbounded" })
        assert.deepStrictEqual(names(registry), ["a", "b", "c", "d"])
        assert.strictEqual(registry.current().version, 4)
      })
    )
  )

  it.effect("leaves a request with the snapshot that it began with, and the backend with its state", () =>
    withRegistry({ backends: [one] }, (registry) =>
      Effect.gen(function* () {
        const begun = registry.current()
        const { state } = backendOf(begun, "a")
        yield* registry.modify(adding("b"))
        assert.deepStrictEqual([...begun.backends.keys()], ["a"])
        assert.strictEqual(backendOf(registry.current(), "a").state, state)
      })
    )
  )

  it.effect("that changes nothing leaves the snapshot as it is", () =>
    withRegistry({ backends: [one] }, (registry) =>
      Effect.gen(function* () {
        const { before, snapshot } = yield* registry.modify((config) => Result.succeed({ ...config }))
        assert.strictEqual(snapshot, before)
      })
    )
  )

  it.effect("that fails by itself fails with that, and changes nothing", () =>
    withRegistry({ backends: [one] }, (registry) =>
      Effect.gen(function* () {
        const before = registry.current()
        assert.strictEqual(yield* Effect.flip(registry.modify(() => Result.fail("no such backend"))), "no such backend")
        assert.strictEqual(yield* Effect.flip(registry.modify(() => Effect.fail("not yours"))), "not yours")
        assert.strictEqual(registry.current(), before)
      })
    )
  )

  it.effect("that is interrupted changes nothing, and lets the next one in", () =>
    withRegistry({ backends: [one] }, (registry) =>
      Effect.gen(function* () {
        const before = registry.current()
        const entered = yield* Deferred.make<void>()
        const stuck = yield* Effect.forkChild(
          registry.modify(() => Effect.andThen(Deferred.succeed(entered, undefined), Effect.never))
        )
        yield* Deferred.await(entered)
        const next = yield* Effect.forkChild(registry.modify(adding("b")), { startImmediately: true })
        yield* Fiber.interrupt(stuck)
        assert.strictEqual((yield* Fiber.join(next)).before, before)
        assert.deepStrictEqual(names(registry), ["a", "b"])
      })
    )
  )

  it.effect("that is interrupted while it waits for its turn never begins", () =>
    withRegistry({ backends: [one] }, (registry) =>
      Effect.gen(function* () {
        const gate = yield* Deferred.make<void>()
        const first = yield* Effect.forkChild(
          registry.modify((config) => Effect.andThen(Deferred.await(gate), adding("b")(config))),
          { startImmediately: true }
        )
        const second = yield* Effect.forkChild(registry.modify(adding("c")), { startImmediately: true })
        yield* Fiber.interrupt(second)
        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.join(first)
        assert.deepStrictEqual(names(registry), ["a", "b"])
      })
    )
  )
})

describe("an edit that is not valid", () => {
  const refusal = (input: unknown, edit: (config: GatewayConfig) => GatewayConfig) =>
    withRegistry(input, (registry) =>
      Effect.gen(function* () {
        const before = registry.current()
        const failure = yield* Effect.flip(registry.modify((config) => Result.succeed(edit(config))))
        if (!(failure instanceof ConfigInvalid)) return assert.fail(String(failure))
        assert.strictEqual(registry.current(), before)
        return failure.message.split("\n")
      })
    )

  const pooled = { backends: [one], pools: [{ name: "big", backends: ["a"] }] }

  it.effect("is refused with the place and the mend: a backend that a pool still holds", () =>
    Effect.gen(function* () {
      const problems = yield* refusal(pooled, (config) => ({ ...config, backends: [] }))
      assert.deepStrictEqual(problems, ["pools[0].backends[0]: unknown backend a (there are none)"])
    })
  )

  it.effect("is refused with the nearest name: a pool that is misspelt", () =>
    Effect.gen(function* () {
      const [rule] = (yield* configOf({ models: [{ match: "m", pool: "bog" }] })).models
      const problems = yield* refusal(pooled, (config) => ({ ...config, models: [must(rule)] }))
      assert.deepStrictEqual(problems, ["models[0].pool: unknown pool bog; did you mean big? (known: big)"])
    })
  )

  it.effect("is refused where it opens a listener to the world without a key", () =>
    Effect.gen(function* () {
      const { listeners } = yield* configOf({ listeners: [{ host: "0.0.0.0" }] })
      const problems = must(yield* refusal(pooled, (config) => ({ ...config, listeners })))
      assert.match(
        must(problems[0]),
        /^listeners\[0\]\.host: listens beyond this machine without any key: configure keys/
      )
    })
  )

  it.effect("is refused with all that is wrong, and tells no credential that stands in a name", () =>
    Effect.gen(function* () {
      const problems = must(
        yield* refusal(pooled, (config) => ({ ...config, backends: [], fallbackBackend: "https://u:s3cret@host" }))
      )
      assert.lengthOf(problems, 2)
      assert.notInclude(problems.join("\n"), "s3cret")
    })
  )

  it.effect("is refused where it makes a client's key an administrator's", () =>
    Effect.gen(function* () {
      const { keys } = yield* configOf({ keys: [{ name: "default", key: "token" }] })
      const problems = yield* refusal({ ...pooled, admin: { token: "token" } }, (config) => ({ ...config, keys }))
      assert.match(must(problems?.[0]), /^admin\.token: is the same as the key default/)
    })
  )

  it.effect("but not where WEIR_API_KEY opened both surfaces before, on purpose", () => {
    const both = { ...pooled, admin: { token: "token" }, keys: [{ name: "default", key: "token" }] }
    return withRegistry(both, (registry) =>
      Effect.gen(function* () {
        yield* registry.modify(adding("b"))
        const [key] = (yield* configOf({ keys: [{ name: "default", key: "other" }] })).keys
        const other = yield* Effect.flip(
          registry.modify((config) =>
            Result.succeed({ ...config, keys: [must(key)], admin: { ...config.admin, token: Redacted.make("other") } })
          )
        )
        assert.instanceOf(other, ConfigInvalid)
      })
    )
  })

  it.effect("a new listener without a pool gets the only one there is, as in a file", () =>
    withRegistry(pooled, (registry) =>
      Effect.gen(function* () {
        const { listeners } = yield* configOf({ listeners: [{ name: "other", port: 9009 }] })
        yield* registry.modify((config) => Result.succeed({ ...config, listeners }))
        assert.strictEqual(registry.current().listeners.get("other")?.pool, "big")
      })
    )
  )
})

describe("an edit that cannot be put into force", () => {
  /** A part that keeps a diary. */
  const part = (diary: Array<string>, name: string, prepare: Effect.Effect<void, ChangeRefused> = Effect.void) =>
    Effect.flatMap(Registry, (registry) =>
      registry.participate(() =>
        Effect.as(prepare, {
          commit: () => Effect.sync(() => void diary.push(`${name} commits`)),
          abort: Effect.sync(() => void diary.push(`${name} aborts`))
        })
      )
    )

  const store = (save: (config: GatewayConfig) => Effect.Effect<void, StoreFailed>) =>
    Effect.map(configOf({ backends: [one] }), (config) =>
      Registry.layerNoDeps(config).pipe(
        Layer.provide(Layer.succeed(RegistryStore, { load: Effect.succeed(Option.none()), save }))
      )
    )

  it.effect("since a part refuses it leaves the old one in force, and the next one is asked as usual", () =>
    Effect.gen(function* () {
      const diary: Array<string> = []
      const refused = new ChangeRefused({ problems: [{ path: "listeners[0].port", message: "taken" }] })
      const registry = yield* Registry
      const before = registry.current()
      yield* part(diary, "first")
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* part(diary, "second", Effect.fail(refused))
          assert.strictEqual(yield* Effect.flip(registry.modify(adding("b"))), refused)
          assert.strictEqual(registry.current(), before)
        })
      )
      yield* registry.modify(adding("b"))
      assert.deepStrictEqual(diary, ["first aborts", "first commits"])
    }).pipe(Effect.provide(Layer.unwrap(Effect.map(configOf({ backends: [one] }), Registry.layerMemory))))
  )

  it.effect("since a part dies of it tells those that were ready", () =>
    Effect.gen(function* () {
      const diary: Array<string> = []
      const registry = yield* Registry
      yield* part(diary, "first")
      yield* part(diary, "second", Effect.die("a bug"))
      assert.isTrue(Exit.hasDies(yield* Effect.exit(registry.modify(adding("b")))))
      assert.deepStrictEqual([diary, names(registry)], [["first aborts"], ["a"]])
    }).pipe(Effect.provide(Layer.unwrap(Effect.map(configOf({ backends: [one] }), Registry.layerMemory))))
  )

  it.effect("since the store cannot keep it is not in force, and those that were ready are told", () =>
    Effect.gen(function* () {
      let isFull = false
      const failed = new StoreFailed({ operation: "save", reason: "no space left on the device" })
      const layer = yield* store(() => Effect.suspend(() => (isFull ? Effect.fail(failed) : Effect.void)))
      yield* Effect.gen(function* () {
        const diary: Array<string> = []
        const registry = yield* Registry
        yield* part(diary, "first")
        isFull = true
        assert.strictEqual(yield* Effect.flip(registry.modify(adding("b"))), failed)
        assert.include(failed.message, "could not save the configuration: no space left")
        isFull = false
        yield* registry.modify(adding("c"))
        assert.deepStrictEqual(
          [diary, names(registry)],
          [
            ["first aborts", "first commits"],
            ["a", "c"]
          ]
        )
      }).pipe(Effect.provide(layer))
    })
  )
})
