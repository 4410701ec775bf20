import { assert, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { RegistryStore } from "../../src/registry/RegistryStore.ts"
import { configOf } from "./Fixtures.ts"

it.effect("a store in memory has nothing at first, then what was saved last", () =>
  Effect.gen(function* () {
    const store = yield* RegistryStore
    assert.isTrue(Option.isNone(yield* store.load))
    const first = yield* configOf({})
    const second = yield* configOf({ backends: [{ name: "a", url: "http://127.0.0.1:1" }] })
    yield* store.save(first)
    yield* store.save(second)
    assert.deepStrictEqual(yield* store.load, Option.some(second))
  }).pipe(Effect.provide(RegistryStore.layerMemory))
)
