/** What changes is told as one stream, to as many as want to know, and no slow one holds anything up. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, Layer, Schema, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { maxPendingEvents } from "../../src/registry/Events.ts"
import { type Happened, modelsReason, Registry, RegistryEvent } from "../../src/registry/Registry.ts"
import { configOf, must, putInForce } from "./Fixtures.ts"

const one = { name: "a", url: "http://127.0.0.1:9001" }

const layer = Layer.unwrap(Effect.map(configOf({ backends: [one] }), Registry.layerMemory))

const opens = (name: string, reason = "5 of 5 requests failed"): Happened => ({
  kind: "circuit",
  name,
  from: "closed",
  to: "open",
  reason
})

/** Collects the first so many, from now on. */
const collecting = (registry: Registry["Service"], count: number) =>
  Effect.forkChild(registry.events.pipe(Stream.take(count), Stream.runCollect), { startImmediately: true })

const namesOf = (events: ReadonlyArray<RegistryEvent>) =>
  events.map((event) => (event.kind === "dropped" ? `${event.count} dropped` : event.name))

describe("an event", () => {
  it.effect("comes to every subscriber, in its order, with its time", () =>
    Effect.gen(function* () {
      const registry = yield* Registry
      yield* TestClock.setTime(5000)
      const first = yield* collecting(registry, 2)
      const second = yield* collecting(registry, 2)
      registry.publish(opens("a"))
      registry.publish(opens("b"))
      const seen = yield* Fiber.join(first)
      assert.deepStrictEqual(seen[0], { ...opens("a"), time: 5000 })
      assert.deepStrictEqual(namesOf(seen), ["a", "b"])
      assert.deepStrictEqual(yield* Fiber.join(second), seen)
    }).pipe(Effect.provide(layer))
  )

  it.effect("from before a subscription does not come to it", () =>
    Effect.gen(function* () {
      const registry = yield* Registry
      registry.publish(opens("before"))
      const seen = yield* collecting(registry, 1)
      registry.publish(opens("after"))
      assert.deepStrictEqual(namesOf(yield* Fiber.join(seen)), ["after"])
    }).pipe(Effect.provide(layer))
  )

  it.effect("is written and read again as it is", () =>
    Effect.gen(function* () {
      const registry = yield* Registry
      const seen = yield* collecting(registry, 1)
      registry.publish(opens("a"))
      const [event] = yield* Fiber.join(seen)
      const text = JSON.stringify(Schema.encodeSync(RegistryEvent)(must(event)))
      assert.deepStrictEqual(Schema.decodeSync(Schema.fromJsonString(RegistryEvent))(text), event)
    }).pipe(Effect.provide(layer))
  )

  it.effect("tells no credential that its reason quotes", () =>
    Effect.gen(function* () {
      const registry = yield* Registry
      const seen = yield* collecting(registry, 1)
      registry.publish(opens("a", "cannot reach http://user:s3cret@host/"))
      assert.notInclude(JSON.stringify(yield* Fiber.join(seen)), "s3cret")
    }).pipe(Effect.provide(layer))
  )
})

describe("a slow subscriber", () => {
  it.effect("loses the oldest events, is told how many, and takes nothing from another", () =>
    Effect.gen(function* () {
      const registry = yield* Registry
      const got = yield* Deferred.make<void>()
      const gate = yield* Deferred.make<void>()
      const count = maxPendingEvents + 10
      const slow = yield* registry.events.pipe(
        Stream.tap(() => Effect.andThen(Deferred.succeed(got, undefined), Deferred.await(gate))),
        Stream.take(2 + maxPendingEvents),
        Stream.runCollect,
        (run) => Effect.forkChild(run, { startImmediately: true })
      )
      registry.publish(opens("first"))
      yield* Deferred.await(got)
      yield* TestClock.setTime(7000)
      for (let i = 0; i < count; i++) registry.publish(opens(`n${i}`))
      const quick = yield* collecting(registry, 1)
      registry.publish(opens("last"))
      assert.deepStrictEqual(namesOf(yield* Fiber.join(quick)), ["last"])
      yield* Deferred.succeed(gate, undefined)
      const seen = yield* Fiber.join(slow)
      const names = namesOf(seen)
      assert.deepStrictEqual(names.slice(0, 3), ["first", "11 dropped", "n11"])
      assert.strictEqual(names.at(-1), "last")
      assert.deepStrictEqual(seen[1], { kind: "dropped", time: 7000, count: 11 })
    }).pipe(Effect.provide(layer))
  )

  it.effect("that has gone is not told any more, and the rest still are", () =>
    Effect.gen(function* () {
      const registry = yield* Registry
      const gone = yield* collecting(registry, 5)
      const stays = yield* collecting(registry, 2)
      registry.publish(opens("a"))
      yield* Fiber.interrupt(gone)
      registry.publish(opens("b"))
      assert.deepStrictEqual(namesOf(yield* Fiber.join(stays)), ["a", "b"])
    }).pipe(Effect.provide(layer))
  )
})

it.effect("the stream ends with the registry, after what it still has", () =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const registry = yield* Effect.map(Layer.buildWithScope(layer, scope), (services) =>
      Context.get(services, Registry)
    )
    const seen = yield* Effect.forkChild(Stream.runCollect(registry.events), { startImmediately: true })
    registry.publish(opens("a"))
    yield* Scope.close(scope, Exit.void)
    assert.deepStrictEqual(namesOf(yield* Fiber.join(seen)), ["a"])
  })
)

it.effect("a change of the configuration says between which versions and what is different", () =>
  Effect.gen(function* () {
    const registry = yield* Registry
    const seen = yield* collecting(registry, 2)
    yield* putInForce(registry, yield* configOf({ backends: [one] }))
    yield* putInForce(registry, yield* configOf({ backends: [one, { ...one, name: "b" }], defaultModel: "m" }))
    const many = Array.from({ length: 12 }, (_, i) => ({ ...one, name: `n${i}` }))
    yield* putInForce(registry, yield* configOf({ backends: [one, { ...one, name: "b" }, ...many], defaultModel: "m" }))
    const [small, large] = yield* Fiber.join(seen)
    const { time: _, ...told } = must(small)
    assert.deepStrictEqual(told, {
      kind: "configuration",
      name: "configuration",
      from: 1,
      to: 2,
      reason: "backend b added, defaultModel changed"
    })
    assert.match(JSON.stringify(large), /backend n9 added and 2 more"/)
  }).pipe(Effect.provide(layer))
)

it("a change of models says which came and which went, of many only the first", () => {
  assert.strictEqual(modelsReason([], ["m"]), "lists m")
  assert.strictEqual(modelsReason(["m", "n"], ["n", "o"]), "lists o; lists no more m")
  const many = Array.from({ length: 1000 }, (_, i) => `${i} ${"x".repeat(10_000)}`)
  const reason = modelsReason([], many)
  assert.match(reason, /and 990 more$/)
  assert.isBelow(reason.length, 1100)
})
