import { assert, describe, it } from "@effect/vitest"
import { Redacted } from "effect"
import { scrub } from "../../src/telemetry/Credentials.ts"
import { redact } from "../../src/telemetry/Redaction.ts"
import { fc } from "../registry/Properties.ts"

const secret = "s3cr3t-V4lue"

describe("a value behind a telling key", () => {
  for (const key of [
    "authorization",
    "Authorization",
    "proxy-authorization",
    "bearer",
    "api_key",
    "apiKey",
    "api-key",
    "x-api-key",
    "token",
    "accessToken",
    "X-Auth-Token",
    "secret",
    "secretKey",
    "client_secret",
    "password",
    "dbPassword",
    "cookie",
    "set-cookie",
    "credentials"
  ]) {
    it(`is replaced: ${key}`, () => {
      assert.deepStrictEqual(redact({ [key]: secret, other: 1 }), { [key]: "<redacted>", other: 1 })
      assert.notInclude(JSON.stringify(redact({ deep: [{ [key]: { inner: secret } }] })), secret)
      assert.notInclude(JSON.stringify(redact({ [key]: [secret] })), secret)
    })
  }

  it("is shown where it is a count and no secret", () => {
    const usage = { total_tokens: 5, prompt_tokens: 2, tokensPerMinute: 100, tokens: { prompt: 2, completion: 3 } }
    assert.deepStrictEqual(redact(usage), usage)
  })

  it("is replaced where the key speaks of many and the value is text", () => {
    assert.notInclude(JSON.stringify(redact({ tokens: secret, apiTokens: [secret] })), secret)
  })

  it("is replaced wherever it is Redacted, whatever the key", () => {
    assert.deepStrictEqual(redact({ a: Redacted.make(secret), b: [Redacted.make(secret)] }), {
      a: "<redacted>",
      b: ["<redacted>"]
    })
  })

  it("never comes through, however deep and among whatever else", () => {
    const keys = fc.constantFrom("authorization", "apiKey", "token", "my_secret", "userPassword")
    const leaf = fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null))
    const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
      tree: fc.oneof(
        { depthSize: "small", withCrossShrink: true },
        leaf,
        fc.array(tie("tree"), { maxLength: 4 }),
        fc.dictionary(fc.string({ maxLength: 6 }), tie("tree"), { maxKeys: 4 }),
        fc
          .tuple(keys, fc.constantFrom<unknown>(secret, [secret], { inner: secret }))
          .map(([key, value]) => ({ [key]: value }))
      )
    }))
    fc.assert(fc.property(tree, (value) => assert.notInclude(JSON.stringify(redact(value)) ?? "", secret)))
  })
})

describe("what is no secret", () => {
  it("stays what it is", () => {
    const data = { a: 1, b: "text", c: [true, null, { d: 0.5 }], e: undefined, "": "" }
    assert.deepStrictEqual(redact(data), data)
  })

  it("is cut off where it is nested without end", () => {
    const loop: Record<string, unknown> = { name: "x" }
    loop["self"] = loop
    assert.include(JSON.stringify(redact(loop)), "…")
  })

  it("is told in a form that can be written, whatever it is", () => {
    const told = redact({ at: new Date(0), big: 12n, url: new URL("http://u:pw@h/x"), set: new Set([1]), fn: () => 1 })
    const text = JSON.stringify(told)
    assert.include(text, "1970-01-01T00:00:00.000Z")
    assert.include(text, "12")
    assert.notInclude(text, "pw")
  })

  it("is told of an error: its kind and its message, and no stack", () => {
    const told = redact({ error: new TypeError(`no luck with Bearer ${secret}`) })
    assert.deepStrictEqual(told, { error: { error: "TypeError", message: "no luck with Bearer <redacted>" } })
  })
})

describe("a credential in running text", () => {
  const cases: ReadonlyArray<readonly [text: string, told: string]> = [
    [`Authorization: Bearer ${secret} was refused`, "Authorization: Bearer <redacted> was refused"],
    ["authorization: basic dXNlcjpwYXNz", "authorization: basic <redacted>"],
    ["see http://user:pass@host:1/x?y=1", "see http://<redacted>@host:1/x?y=1"],
    ["see https://user:p@ss@host/", "see https://<redacted>@host/"],
    ["GET /v1/models?api_key=abc123&x=1", "GET /v1/models?api_key=<redacted>&x=1"],
    ['{"password": "hunter2", "a": 1}', '{"password": "<redacted>", "a": 1}'],
    ["token=abc", "token=<redacted>"],
    ["secret: abc", "secret: <redacted>"]
  ]
  const inAddresses: ReadonlyArray<readonly [text: string, told: string]> = [
    ["redis://:pw@h:6379/0", "redis://<redacted>@h:6379/0"],
    ["rediss://user:p%40w@h/0?x=1", "rediss://<redacted>@h/0?x=1"],
    ["http://u:pa/s?s#w@proxy:8080/x", "http://<redacted>@proxy:8080/x"],
    ["http://a/x?next=http://u:pw@h/", "http://a/x?next=http://<redacted>@h/"],
    ["http://a/?next=http%3A%2F%2Fu%3Apw%40h", "http://a/?next=<redacted>"],
    ["http://a/?api_key=abc&b=1#top", "http://a/?api_key=<redacted>&b=1#top"],
    ["http://a/?api%5Fkey=abc&b=1", "http://a/?api%5Fkey=<redacted>&b=1"],
    ["http://a/?b=1&sig=a%2Fb%3D", "http://a/?b=1&sig=<redacted>"],
    [
      "http://a/?X-Amz-Credential=a&X-Amz-Signature=b",
      "http://a/?X-Amz-Credential=<redacted>&X-Amz-Signature=<redacted>"
    ],
    [
      "http://a/?subscription-key=abc&subscriptionKey=abc",
      "http://a/?subscription-key=<redacted>&subscriptionKey=<redacted>"
    ],
    ["http://a/?code=abc;pwd=abc", "http://a/?code=<redacted>;pwd=<redacted>"],
    ["http://a/#access_token=abc", "http://a/#access_token=<redacted>"],
    ["see http://u:pw@a/ and http://v:pw@b/", "see http://<redacted>@a/ and http://<redacted>@b/"]
  ]
  for (const [text, told] of [...cases, ...inAddresses]) {
    it(`is replaced: ${text}`, () => assert.strictEqual(scrub(text), told))
  }

  it("is looked for in no longer a time than the text is long, whoever wrote it", () => {
    for (const piece of [
      "a",
      "a:",
      "://",
      "bearer ",
      "token",
      "token = ",
      "x@",
      " ",
      "://u:p/",
      "&a=%",
      "?",
      "?key=%25"
    ]) {
      const text = piece.repeat(200_000)
      assert.isAtLeast(scrub(text).length, 10)
    }
  })

  for (const text of [
    "the bearer of bad news",
    "mail a@b.c",
    "http://host/path@x",
    "http://host:8000/path@x?mail=a@b.c",
    "http://[::1]:8000/x@y",
    "http://host/?max_tokens=16&status_code=500&monkey=1&api-version=2024-10-21",
    "http://host/?%zz=%zz&next=http%3A%2F%2Fh",
    "completion_tokens: 5, total tokens: 12",
    "max_tokens=16",
    "a token was unexpected"
  ]) {
    it(`is not seen where there is none: ${text}`, () => assert.strictEqual(scrub(text), text))
  }
})
