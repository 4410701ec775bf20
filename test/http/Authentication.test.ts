import { createHash } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as fc from "fast-check"
import { asksForKey, authenticate, authenticateAdmin } from "../../src/http/Authentication.ts"
import { holdsFor } from "../Property.ts"
import { listener, snapshot } from "./Requests.ts"

type Headers = Readonly<Record<string, string>>

const sha256 = createHash("sha256").update("third-secret").digest("hex")
const keyed = snapshot({
  keys: [
    { name: "a", key: "first-secret" },
    { name: "b", key: "sécond ✓" },
    { name: "c", sha256: sha256.toUpperCase() }
  ],
  admin: { token: "admin-secret" }
})

const whose = (headers: Headers) => {
  const key = authenticate(keyed, (name) => headers[name])
  return Result.isFailure(key) ? `${key.failure.status} ${key.failure.code}` : key.success.name
}

describe("a client's key", () => {
  it.each([
    ["as a bearer token", { authorization: "Bearer first-secret" }, "a"],
    ["with the scheme in any case and more space", { authorization: "bEARER   first-secret " }, "a"],
    ["as x-api-key", { "x-api-key": "first-secret" }, "a"],
    ["as api-key", { "api-key": "first-secret" }, "a"],
    ["known by its digest alone", { authorization: "Bearer third-secret" }, "c"],
    [
      "in x-api-key beside a Basic credential of a proxy",
      { authorization: "Basic dTpw", "x-api-key": "first-secret" },
      "a"
    ],
    ["in api-key beside a scheme that is not known", { authorization: "Token x", "api-key": "first-secret" }, "a"],
    ["in x-api-key beside a Bearer without a key", { authorization: "Bearer", "x-api-key": "first-secret" }, "a"],
    ["in x-api-key beside a placeholder", { authorization: "Bearer unused", "x-api-key": "first-secret" }, "a"],
    ["in Authorization before x-api-key", { authorization: "Bearer first-secret", "x-api-key": "third-secret" }, "a"],
    ["of other letters than ASCII's", { "x-api-key": "sécond ✓" }, "b"]
  ])("is found %s", (_, headers, expected) => {
    assert.strictEqual(whose(headers), expected)
  })

  it.each<[string, Headers]>([
    ["missing", {}],
    ["empty", { authorization: "Bearer " }],
    ["nothing but a scheme", { authorization: "Bearer" }],
    ["wrong", { authorization: "Bearer first-secre" }],
    ["longer than the right one", { authorization: "Bearer first-secret2" }],
    ["the digest instead of the key", { authorization: `Bearer ${sha256}` }],
    ["in another scheme", { authorization: "Basic first-secret" }],
    ["of odd bytes", { authorization: "Bearer \u0000\u00ff\ud800" }],
    ["the admin's token", { authorization: "Bearer admin-secret" }],
    ["the name of what every object has", { "x-api-key": "__proto__" }]
  ])("a key that is %s is a 401", (_, headers) => {
    assert.strictEqual(whose(headers), "401 invalid_api_key")
  })

  it("a wrong key is a 401 whatever it is, and does not come back in the message", () => {
    holdsFor(fc.string({ unit: "binary", minLength: 8, maxLength: 40 }), (secret) => {
      for (const headers of [{ authorization: `Bearer ${secret}` }, { "x-api-key": secret }]) {
        const refused = authenticate(keyed, (name) => Object.entries(headers).find(([each]) => each === name)?.[1])
        if (Result.isSuccess(refused)) assert.fail(`let in: ${refused.success.name}`)
        assert.notInclude(refused.failure.message, secret)
      }
    })
  })
})

/** What says how a secret is sent; the secrets in it are none of ours. */
const forms: ReadonlyArray<readonly [string, Headers, RegExp]> = [
  ["the key alone", { authorization: "sk-mine" }, /another form than Bearer/],
  ["another scheme", { authorization: "Token sk-mine" }, /another form than Bearer/],
  ["Basic alone", { authorization: "Basic sk-mine" }, /another form than Bearer/],
  ["a colon after the scheme", { authorization: "Bearer: sk-mine" }, /another form than Bearer/],
  ["the scheme and the key in one", { authorization: "Bearersk-mine" }, /another form than Bearer/],
  ["nothing after the scheme", { authorization: "Bearer" }, /nothing after Bearer/],
  ["blanks after the scheme", { authorization: "bearer  " }, /nothing after Bearer/],
  ["the scheme twice", { authorization: "Bearer Bearer sk-mine" }, /begins with another Bearer/],
  ["the scheme in x-api-key", { "x-api-key": "Bearer sk-mine" }, /begins with another Bearer/],
  ["quotes", { authorization: 'Bearer "sk-mine"' }, /quotes or brackets/],
  ["single quotes", { "x-api-key": "'sk-mine'" }, /quotes or brackets/],
  ["angle brackets", { authorization: "Bearer <sk-mine>" }, /quotes or brackets/],
  ["braces", { "api-key": "{sk-mine}" }, /quotes or brackets/],
  ["Basic beside a wrong key", { authorization: "Basic sk-mine", "x-api-key": "sk-mine" }, /^Incorrect /]
]

describe("a refusal", () => {
  const client = (headers: Headers) => {
    const refused = authenticate(keyed, (name) => headers[name])
    return Result.isFailure(refused) ? refused.failure.message : assert.fail("let in")
  }
  const admin = (headers: Headers) => {
    const refused = authenticateAdmin(keyed, (name) => headers[name])
    return Result.isFailure(refused) ? refused.failure.message : assert.fail("let in")
  }

  it.each(forms)("says what is wrong and how it must be sent, and no word of what was sent: %s", (_, headers, what) => {
    for (const [message, secret] of [
      [client(headers), "KEY"],
      [admin(headers), "TOKEN"]
    ] as const) {
      assert.match(message, what)
      assert.notMatch(message, /did not provide|sk-mine/)
      if (!message.startsWith("Incorrect")) assert.include(message, `Authorization: Bearer ${secret}`)
    }
  })

  it("calls a key missing only where there is none, and says how it is sent", () => {
    for (const headers of [{}, { authorization: "" }, { "x-api-key": "" }]) {
      assert.match(client(headers), /^You did not provide an API key\. .*Authorization: Bearer KEY/)
      assert.match(admin(headers), /^You did not provide an admin token\. .*Authorization: Bearer TOKEN/)
    }
  })
})

describe("the choice whether a key is asked for", () => {
  it("depends on whether there are any, where the listener does not say", () => {
    assert.isTrue(asksForKey(keyed, listener()))
    assert.isFalse(asksForKey(snapshot(), listener()))
    assert.isFalse(asksForKey(keyed, listener({ auth: false })))
    assert.isTrue(asksForKey(snapshot(), listener({ auth: true })))
  })
})

describe("the admin surface", () => {
  const refusal = (headers: Headers, of = keyed) => {
    const entered = authenticateAdmin(of, (name) => headers[name])
    return Result.isFailure(entered) ? entered.failure.code : "open"
  }

  it("opens to its token, however it is sent, and to nothing else", () => {
    assert.strictEqual(refusal({ authorization: "Bearer admin-secret" }), "open")
    assert.strictEqual(refusal({ "x-api-key": "admin-secret" }), "open")
    assert.strictEqual(refusal({ authorization: "Basic dTpw", "x-api-key": "admin-secret" }), "open")
    assert.strictEqual(refusal({ authorization: "Bearer first-secret", "api-key": "admin-secret" }), "open")
    for (const wrong of ["", "admin-secre", "admin-secret2", "first-secret", "\u0000\ud800"]) {
      assert.strictEqual(refusal({ authorization: `Bearer ${wrong}` }), "invalid_api_key")
      assert.strictEqual(refusal({ "x-api-key": wrong }), "invalid_api_key")
    }
    assert.strictEqual(refusal({}), "invalid_api_key")
  })

  it("is open where it has no token", () => {
    assert.strictEqual(refusal({}, snapshot()), "open")
  })
})
