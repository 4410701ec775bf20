/** One set of rules for the names in a configuration, however they come: from a file, or from an edit. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Schema } from "effect"
import * as fc from "fast-check"
import { rawIndexOf } from "../../src/config/RawReferences.ts"
import { digestOfSecret } from "../../src/domain/ApiKey.ts"
import { checkReferences } from "../../src/domain/CrossReferences.ts"
import { GatewayConfig, parseGatewayConfig } from "../../src/domain/GatewayConfig.ts"
import { indexOfConfig } from "../../src/domain/ReferenceIndex.ts"
import { holdsFor } from "../Property.ts"

const decode = Schema.decodeUnknownOption(GatewayConfig)

const some = <A>(of: fc.Arbitrary<A>) => fc.array(of, { maxLength: 3 })
const perhaps = <A extends object>(fields: { [K in keyof A]: fc.Arbitrary<A[K]> }, required: Array<keyof A> = []) =>
  fc.record(fields, { requiredKeys: required })

const name = fc.constantFrom("a", "b", "default")
const path = fc.constantFrom("/v1/x", "/openai/v1/x", "/v1/:id", "/v1/:other", "/v1/*", "/y")
const secret = fc.constantFrom("one", "two")
const digest = fc.constantFrom(digestOfSecret("one"), digestOfSecret("one").toUpperCase(), digestOfSecret("two"))

const member = fc.oneof(name, perhaps({ name, weight: fc.constant(2), priority: fc.constant(1) }, ["name"]))
const listener = perhaps({
  name,
  host: fc.constantFrom("127.0.0.1", "::1"),
  port: fc.constantFrom<number | string>(0, 1, 8000, "8000"),
  pool: name,
  routes: some(fc.record({ path, pool: name })),
  passThrough: fc.oneof(fc.constantFrom("safe", "all", "none"), some(path))
})
const rule = fc.record({ match: fc.constantFrom("m", "n", ".*") }).chain((match) =>
  fc.oneof(
    perhaps({ pool: name, gptOss: fc.boolean() }).map((rest) => ({ ...match, ...rest })),
    fc.record({ backends: fc.array(name, { minLength: 1, maxLength: 3 }) }).map((rest) => ({ ...match, ...rest }))
  )
)
const key = fc.oneof(
  perhaps({ name, key: secret, pools: some(fc.oneof(name, fc.constant("a*"))) }, ["name", "key"]),
  perhaps({ name, sha256: digest, pools: some(name) }, ["name", "sha256"])
)
/** Now and then all of them are there, so that some configurations have nothing wrong. */
const defined = fc.oneof(fc.constant(["a", "b", "default"]), some(name))
const written = perhaps({
  backends: defined.map((names) => names.map((of) => ({ name: of, url: "http://127.0.0.1:1" }))),
  pools: fc.oneof(
    fc.constant(["a", "b", "default"].map((of) => ({ name: of, backends: ["a"] }))),
    some(fc.record({ name, backends: some(member) }))
  ),
  listeners: fc.array(listener, { minLength: 1, maxLength: 3 }),
  models: some(rule),
  fallbackBackend: name,
  keys: some(key)
})

describe("the names of a decoded configuration", () => {
  it("are judged as those of the file that it came from, in the same words at the same places", () => {
    let decodedOnes = 0
    let wrongOnes = 0
    holdsFor(
      written,
      (value) => {
        const config = decode(value)
        if (Option.isNone(config)) return
        const found = checkReferences(indexOfConfig(config.value))
        decodedOnes++
        if (found.length > 0) wrongOnes++
        assert.deepStrictEqual(found, checkReferences(rawIndexOf(value)))
      },
      500
    )
    assert.isAbove(decodedOnes, 450)
    assert.isAbove(wrongOnes, 100)
    assert.isAbove(decodedOnes - wrongOnes, 10)
  })
})

it.effect("a key and the digest of the same key are one key twice", () =>
  Effect.gen(function* () {
    for (const sha256 of [digestOfSecret("secret"), digestOfSecret("secret").toUpperCase()]) {
      const keys = [
        { name: "a", key: "secret" },
        { name: "b", sha256 }
      ]
      const issues = [{ at: ["keys", 1], message: "duplicate key (the same as in entry 0)" }]
      assert.deepStrictEqual(checkReferences(rawIndexOf({ keys })), issues)
      assert.deepStrictEqual(checkReferences(indexOfConfig(yield* parseGatewayConfig({ keys }))), issues)
    }
  })
)
