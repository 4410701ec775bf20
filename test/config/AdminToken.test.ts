/** Which admin tokens are refused, with the place and the reason, and never with the token. */
import { createHash } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { validate } from "../../src/config/ConfigLoader.ts"
import { parseSource } from "../../src/config/YamlSource.ts"

type Environment = Readonly<Record<string, string>>

const load = Effect.fnUntraced(function* (config: object, env: Environment = {}) {
  const source = yield* parseSource("weir.yaml", JSON.stringify(config))
  return yield* validate("weir.yaml", source, env, {})
})

const problems = (config: object, env: Environment = {}) =>
  Effect.map(Effect.flip(load(config, env)), ({ message }) => message.replaceAll(/ \(line \d+\)/g, "").split("\n"))

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex")

const blank = "is blank: give a token that is hard to guess, or leave it out"
const edge = "begins or ends with a blank or a line break, which no request can carry"
const inner = "has a control character or a line break in it, which no request can carry"
const same = (name: string) =>
  `is the same as the key ${name}, whose holder would be an administrator: give the admin a token of its own`

const key = { name: "team", key: "sk-zzS3CRET" }

describe("an admin token", () => {
  it.effect.each([
    { what: "a blank", token: " ", reason: blank },
    { what: "blanks and tabs", token: " \t ", reason: blank },
    { what: "a line break", token: "\n", reason: blank },
    { what: "a blank of another kind", token: "\u00a0\u2003", reason: blank },
    { what: "one that was read with its line break", token: "zzS3CRET\n", reason: edge },
    { what: "one that begins with a blank", token: " zzS3CRET", reason: edge },
    { what: "two lines", token: "zzS3CRET\nmore", reason: inner },
    { what: "one with a null", token: "zzS3CRET\u0000more", reason: inner }
  ])("an admin token that guards nothing is refused: $what", ({ reason, token }) =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* problems({ admin: { token } }), [`admin.token: ${reason}`])
      assert.deepStrictEqual(yield* problems({}, { WEIR_ADMIN_TOKEN: token }), [`WEIR_ADMIN_TOKEN: ${reason}`])
      const written = { admin: { token: "${TOKEN}" } }
      assert.deepStrictEqual(yield* problems(written, { TOKEN: token }), [`admin.token: ${reason}`])
    })
  )

  it.effect.each([
    { what: "the key itself", keys: [key], name: "team" },
    { what: "a key that is known by its digest", keys: [{ name: "b", sha256: sha256(key.key) }], name: "b" },
    { what: "a digest in capitals", keys: [{ name: "c", sha256: sha256(key.key).toUpperCase() }], name: "c" },
    { what: "the last of several keys", keys: [{ name: "a", key: "other" }, key], name: "team" }
  ])("an admin token that is a client's key too is refused: $what", ({ keys, name }) =>
    Effect.gen(function* () {
      const found = [
        yield* problems({ keys, admin: { token: key.key } }),
        yield* problems({ keys, admin: { token: "${K}" } }, { K: key.key })
      ]
      for (const each of found) assert.deepStrictEqual(each, [`admin.token: ${same(name)}`])
      assert.deepStrictEqual(yield* problems({ keys }, { WEIR_ADMIN_TOKEN: key.key }), [
        `WEIR_ADMIN_TOKEN: ${same(name)}`
      ])
    })
  )

  it.effect("may be any other, and an empty one is none", () =>
    Effect.gen(function* () {
      for (const token of ["zzS3CRET", "a b", sha256(key.key), "ü"]) {
        const { admin } = yield* load({ keys: [key], admin: { token } })
        assert.strictEqual(admin.token && Redacted.value(admin.token), token)
      }
      assert.isUndefined((yield* load({ keys: [key], admin: { token: "" } })).admin.token)
      assert.isUndefined((yield* load({ keys: [key] }, { WEIR_ADMIN_TOKEN: "" })).admin.token)
    })
  )
})

describe("WEIR_API_KEY", () => {
  const env = { WEIR_API_KEY: key.key }

  it.effect("opens the admin surface too where no token is given", () =>
    Effect.gen(function* () {
      for (const config of [{}, { admin: { token: "" } }, { keys: [{ name: "default", key: "old" }] }]) {
        const { admin, keys } = yield* load(config, env)
        assert.strictEqual(admin.token && Redacted.value(admin.token), key.key)
        assert.deepStrictEqual(
          keys.map(({ name }) => name),
          ["default"]
        )
      }
    })
  )

  it.effect("is no token that is given besides, nor one that another key has", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* problems({}, { ...env, WEIR_ADMIN_TOKEN: key.key }), [
        `WEIR_ADMIN_TOKEN: ${same("default")}`
      ])
      assert.deepStrictEqual(yield* problems({ admin: { token: key.key } }, env), [`admin.token: ${same("default")}`])
      const digested = { keys: [{ name: "digested", sha256: sha256(key.key) }] }
      assert.deepStrictEqual(yield* problems(digested, env), [
        `WEIR_API_KEY: ${same("digested")}`,
        "WEIR_API_KEY: duplicate key (the same as in entry 0)"
      ])
    })
  )

  it.effect("a WEIR_API_KEY of blanks alone opens nothing", () =>
    Effect.map(problems({}, { WEIR_API_KEY: " " }), (found) => {
      assert.include(found, `WEIR_API_KEY: ${blank}`)
    })
  )
})
