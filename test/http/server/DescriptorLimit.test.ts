/** maxConnections is held against what the process may have open, in words with both numbers. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger } from "effect"
import { holdAgainstLimit, readDescriptorLimit } from "../../../src/http/server/DescriptorLimit.ts"
import { Registry } from "../../../src/registry/Registry.ts"
import { configOf, putInForce } from "../../registry/Fixtures.ts"

const listener = (name: string, port: number, maxConnections?: number) => ({
  name,
  port,
  ...(maxConnections !== undefined && { maxConnections })
})

/** What is warned of with this limit, at the start and after each change. */
const warnings = (limit: number | undefined, ...configs: ReadonlyArray<object>) =>
  Effect.gen(function* () {
    const told: Array<string> = []
    const logger = Logger.make<unknown, void>(({ message }) => {
      told.push(JSON.stringify(message))
    })
    const [first, ...others] = yield* Effect.forEach(configs, configOf)
    if (first === undefined) throw new Error("no configuration")
    const counts = yield* Effect.gen(function* () {
      const registry = yield* Registry
      yield* holdAgainstLimit(registry, limit)
      const all = [told.length]
      for (const next of others) {
        yield* putInForce(registry, next)
        all.push(told.length)
      }
      return all
    }).pipe(Effect.scoped, Effect.provide(Layer.merge(Registry.layerMemory(first), Logger.layer([logger]))))
    return [told, counts] as const
  })

describe("a limit of descriptors", () => {
  for (const [what, limit, config, text] of [
    ["that is less than one listener may have", 1024, { listeners: [listener("a", 1)] }, /16384 .*1024/],
    [
      "that is less than all listeners may have together",
      1000,
      { listeners: [listener("a", 1, 600), listener("b", 2, 600)] },
      /1200 .*1000/
    ],
    [
      "that the admin surface's own port exceeds",
      300,
      { listeners: [listener("a", 1, 200)], admin: { port: 9 } },
      /400 .*300/
    ],
    ["that leaves nothing for anything else", 1024, { listeners: [listener("a", 1, 1000)] }, /1000 .*1024/]
  ] as const) {
    it.effect(`a limit ${what} is warned of with both numbers and the setting`, () =>
      Effect.gen(function* () {
        const [told] = yield* warnings(limit, config)
        assert.lengthOf(told, 1)
        assert.match(String(told[0]), text)
        assert.include(String(told[0]), "maxConnections")
        assert.include(String(told[0]), "ulimit -n")
      })
    )
  }

  it.effect("a limit that is enough, or no limit at all, is not spoken of", () =>
    Effect.gen(function* () {
      for (const limit of [16_384 + 64, 1_048_576, undefined]) {
        const [told] = yield* warnings(limit, { listeners: [listener("a", 1)] })
        assert.deepStrictEqual(told, [])
      }
    })
  )

  it.effect("is looked at again where a change asks for more, and only there", () =>
    Effect.gen(function* () {
      const of = (maxConnections: number, more: object = {}) => ({
        listeners: [listener("a", 1, maxConnections)],
        ...more
      })
      const [, counts] = yield* warnings(
        1024,
        of(100),
        of(2000),
        of(2000, { limits: { maxBodyBytes: 1 } }),
        of(1500),
        { listeners: [listener("a", 1, 1500), listener("b", 2, 10)] },
        of(100)
      )
      assert.deepStrictEqual(counts, [0, 1, 1, 1, 2, 2])
    })
  )

  it.effect("is read from the system", () =>
    Effect.gen(function* () {
      const limit = yield* readDescriptorLimit
      assert.isTrue(limit === undefined || (Number.isInteger(limit) && limit > 0))
    })
  )
})
