/** How a part of the gateway follows a change of the configuration that it cannot refuse. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer, Logger } from "effect"
import { derived, Registry } from "../../src/registry/Registry.ts"
import { configOf, putInForce } from "./Fixtures.ts"

const one = { name: "a", url: "http://127.0.0.1:9001" }
const two = { name: "b", url: "http://127.0.0.1:9002" }

const layer = Layer.unwrap(Effect.map(configOf({ backends: [one] }), Registry.layerMemory))

class Mark extends Context.Service<Mark, string>()("test/Mark") {}

describe("a part that follows", () => {
  it.effect("sees the snapshot in force first, then each later one before the change is done", () =>
    Effect.gen(function* () {
      const registry = yield* Registry
      const seen: Array<string> = []
      yield* registry.follow(({ backends, version }) =>
        Effect.sync(() => void seen.push([version, ...backends.keys()].join(" ")))
      )
      assert.deepStrictEqual(seen, ["1 a"])
      yield* putInForce(registry, yield* configOf({ backends: [two] }))
      assert.deepStrictEqual(seen, ["1 a", "2 b"])
      yield* putInForce(registry, yield* configOf({}))
      assert.deepStrictEqual(seen, ["1 a", "2 b", "3"])
    }).pipe(Effect.provide(layer))
  )

  it.effect("is told of a change that came to nothing, since the files it names may be others", () =>
    Effect.gen(function* () {
      const registry = yield* Registry
      const seen: Array<number> = []
      yield* registry.follow(({ version }) => Effect.sync(() => void seen.push(version)))
      yield* putInForce(registry, yield* configOf({ backends: [one] }))
      assert.deepStrictEqual(seen, [1, 1])
    }).pipe(Effect.provide(layer))
  )

  it.effect("is told nothing more when its scope has closed", () =>
    Effect.gen(function* () {
      const registry = yield* Registry
      const seen: Array<number> = []
      yield* Effect.scoped(registry.follow(({ version }) => Effect.sync(() => void seen.push(version))))
      yield* putInForce(registry, yield* configOf({ backends: [two] }))
      assert.deepStrictEqual(seen, [1])
    }).pipe(Effect.provide(layer))
  )

  it.effect("follows before what takes part commits: what that opens is served with it", () =>
    Effect.gen(function* () {
      const registry = yield* Registry
      const seen: Array<string> = []
      const commit = () => Effect.sync(() => void seen.push("commits"))
      yield* registry.participate(() => Effect.succeed({ commit, abort: Effect.void }))
      yield* registry.follow(({ version }) => Effect.sync(() => void seen.push(`follows ${version}`)))
      yield* putInForce(registry, yield* configOf({ backends: [two] }))
      assert.deepStrictEqual(seen, ["follows 1", "follows 2", "commits"])
    }).pipe(Effect.provide(layer))
  )

  it.effect("that begins while a change is under way misses nothing of it", () =>
    Effect.gen(function* () {
      const registry = yield* Registry
      const gate = yield* Deferred.make<void>()
      const slow = Effect.as(Deferred.await(gate), { commit: () => Effect.void, abort: Effect.void })
      yield* registry.participate(() => slow)
      const next = yield* configOf({ backends: [two] })
      const changing = yield* Effect.forkChild(putInForce(registry, next), { startImmediately: true })
      const seen: Array<number> = []
      const beginning = yield* Effect.forkChild(
        registry.follow(({ version }) => Effect.sync(() => void seen.push(version))),
        { startImmediately: true }
      )
      yield* Deferred.succeed(gate, undefined)
      yield* Effect.andThen(Fiber.join(changing), Fiber.join(beginning))
      assert.deepStrictEqual(seen, [2])
    }).pipe(Effect.provide(layer), Effect.scoped)
  )

  it.effect("and dies of it is logged, and the others follow all the same", () =>
    Effect.gen(function* () {
      const registry = yield* Registry
      const seen: Array<number> = []
      yield* registry.follow(({ version }) => (version === 1 ? Effect.void : Effect.die("a bug")))
      yield* registry.follow(({ version }) => Effect.sync(() => void seen.push(version)))
      const lines: Array<string> = []
      const logger = Logger.make<unknown, void>(({ message }) => void lines.push(JSON.stringify(message)))
      const next = yield* configOf({ backends: [two] })
      yield* Effect.provide(putInForce(registry, next), Logger.layer([logger]))
      assert.deepStrictEqual(seen, [1, 2])
      assert.match(lines.join("\n"), /could not follow a change of the configuration/)
    }).pipe(Effect.provide(layer))
  )

  it.effect("runs with its own services, whatever asks for the change", () =>
    Effect.gen(function* () {
      const registry = yield* Registry
      const seen: Array<string> = []
      const note = Effect.flatMap(Effect.serviceOption(Mark), (mark) => Effect.sync(() => void seen.push(String(mark))))
      yield* Effect.provideService(
        registry.follow(() => note),
        Mark,
        "part"
      )
      const change = putInForce(registry, yield* configOf({ backends: [two] }))
      yield* Effect.provideService(change, Mark, "client")
      assert.lengthOf(seen, 2)
      for (const mark of seen) assert.include(mark, "part")
    }).pipe(Effect.provide(layer))
  )
})

it.effect("a derived value is made anew at the first use after a change, and only then", () =>
  Effect.gen(function* () {
    const registry = yield* Registry
    let made = 0
    const size = derived(registry.current, ({ backends }) => {
      made++
      return backends.size
    })
    assert.deepStrictEqual([size(), size(), made], [1, 1, 1])
    yield* putInForce(registry, yield* configOf({ backends: [one, two] }))
    assert.strictEqual(made, 1)
    assert.deepStrictEqual([size(), size(), made], [2, 2, 2])
  }).pipe(Effect.provide(layer))
)
