import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "fast-check"
import { genericAdapter } from "../../src/backend/Adapter.ts"
import { type Outgoing, outgoingHeaders, prepare, target as targetOf } from "../../src/backend/Outgoing.ts"
import { holdsFor } from "../Property.ts"
import { lone } from "../registry/Fixtures.ts"

const outgoing = (headers: ReadonlyArray<string>): Outgoing => ({
  method: "POST",
  path: "/v1/x",
  query: "",
  headers,
  body: undefined,
  readable: true
})

const headersOf = Effect.fnUntraced(function* (backend: object, headers: ReadonlyArray<string>) {
  const { entry } = yield* lone(backend)
  return outgoingHeaders(entry.config, prepare(entry.config, genericAdapter), outgoing(headers), "/v1/x", 0)
})

describe("the backend's path", () => {
  const cases: ReadonlyArray<readonly [url: string, prefix: string | undefined, path: string, target: string]> = [
    ["http://h:1", undefined, "/v1/chat/completions", "/v1/chat/completions"],
    ["http://h:1/", undefined, "/v1/chat/completions", "/v1/chat/completions"],
    ["http://h:1///", undefined, "/v1/models", "/v1/models"],
    ["http://h:1/v1", undefined, "/v1/chat/completions", "/v1/chat/completions"],
    ["http://h:1/v1/", undefined, "/v1/chat/completions", "/v1/chat/completions"],
    ["http://h:1/api", undefined, "/v1/chat/completions", "/api/chat/completions"],
    ["http://h:1/api/v3/", undefined, "/v1/chat/completions", "/api/v3/chat/completions"],
    ["http://h:1", "", "/v1/chat/completions", "/chat/completions"],
    ["http://h:1", "/", "/v1/chat/completions", "/chat/completions"],
    ["http://h:1", "/openai/v1", "/v1/models", "/openai/v1/models"],
    ["http://h:1", "/openai/v1/", "/v1/models", "/openai/v1/models"],
    ["http://h:1/base", "/v1", "/v1/models", "/base/v1/models"],
    ["http://h:1", undefined, "/v1", "/v1"],
    ["http://h:1", "", "/v1", "/"],
    ["http://h:1", undefined, "/v1/", "/v1/"],
    // What is not below /v1 is below the engine's own root.
    ["http://h:1", undefined, "/tokenize", "/tokenize"],
    ["http://h:1/v1", undefined, "/tokenize", "/tokenize"],
    ["http://h:1/v1/", undefined, "/health", "/health"],
    ["http://h:1/base", undefined, "/tokenize", "/base/tokenize"],
    ["http://h:1/base/v1", undefined, "/tokenize", "/base/tokenize"],
    ["http://h:1", undefined, "/v1beta/models", "/v1beta/models"],
    ["http://h:1", undefined, "/", "/"],
    // Byte for byte, whatever it looks like.
    ["http://h:1", undefined, "/v1/a%2Fb//c/../d%20e/", "/v1/a%2Fb//c/../d%20e/"],
    ["http://h:1/api", undefined, "/v1//x", "/api//x"]
  ]
  for (const [url, pathPrefix, path, target] of cases) {
    it.effect(
      `the path at ${url}${pathPrefix === undefined ? "" : ` with prefix "${pathPrefix}"`} for ${path} is ${target}`,
      () =>
        Effect.gen(function* () {
          const { entry } = yield* lone({ url, ...(pathPrefix !== undefined && { pathPrefix }) })
          assert.strictEqual(targetOf(prepare(entry.config, genericAdapter), path, ""), target)
        })
    )
  }
})

describe("the backend's credentials", () => {
  const forms: ReadonlyArray<readonly [what: string, auth: object, name: string, value: string]> = [
    ["bearer", { type: "bearer", token: "t-1" }, "authorization", "Bearer t-1"],
    ["a user and a password", { type: "basic", username: "u", password: "p:ü" }, "authorization", "Basic dTpwOsO8"],
    ["basic as it stands", { type: "basic", credentials: "dTpw" }, "authorization", "Basic dTpw"],
    ["a header of any name", { type: "header", name: "X-Apig-AppCode", value: "c0de" }, "x-apig-appcode", "c0de"]
  ]
  for (const [what, auth, name, value] of forms) {
    it.effect(`are sent: ${what}`, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* headersOf({ auth }, ["accept", "*/*"]), ["accept", "*/*", name, value])
      })
    )

    it.effect(`replace whatever of that name is there, also what an operation has put there: ${what}`, () =>
      Effect.gen(function* () {
        const headers = [{ op: "replace", name: name.toUpperCase(), value: "configured" }]
        const sent = yield* headersOf({ auth, headers }, [name, "of the client", name.toUpperCase(), "again"])
        assert.deepStrictEqual(sent, [name, value])
      })
    )
  }

  it.effect("are none where none are configured", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* headersOf({}, ["accept", "*/*"]), ["accept", "*/*"])
    })
  )

  it.effect("may be put there by an operation alone", () =>
    Effect.gen(function* () {
      const headers = [{ op: "insert", name: "Authorization", value: "Basic dTpw" }]
      assert.deepStrictEqual(yield* headersOf({ headers }, []), ["Authorization", "Basic dTpw"])
    })
  )
})

describe("header operations", () => {
  const apply = (headers: ReadonlyArray<object>, client: ReadonlyArray<string>) => headersOf({ headers }, client)
  const client = ["X-Team", "client", "accept", "*/*", "x-team", "twice"]

  it.effect("insert only where the header is absent, whatever its case", () =>
    Effect.gen(function* () {
      const insert = (name: string) => [{ op: "insert", name, value: "ours" }]
      assert.deepStrictEqual(yield* apply(insert("x-TEAM"), client), client)
      assert.deepStrictEqual(yield* apply(insert("X-New"), client), [...client, "X-New", "ours"])
    })
  )

  it.effect("replace every value of a header by the one, and set it where it is absent", () =>
    Effect.gen(function* () {
      const replace = (name: string) => [{ op: "replace", name, value: "ours" }]
      assert.deepStrictEqual(yield* apply(replace("X-TEAM"), client), ["accept", "*/*", "X-TEAM", "ours"])
      assert.deepStrictEqual(yield* apply(replace("X-New"), ["a", "b"]), ["a", "b", "X-New", "ours"])
    })
  )

  it.effect("remove every value of a header", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* apply([{ op: "remove", name: "x-Team" }], client), ["accept", "*/*"])
      assert.deepStrictEqual(yield* apply([{ op: "remove", name: "x-other" }], client), client)
    })
  )

  it.effect("take effect one after the other", () =>
    Effect.gen(function* () {
      const sent = yield* apply(
        [
          { op: "remove", name: "x-team" },
          { op: "insert", name: "x-team", value: "first" },
          { op: "insert", name: "x-team", value: "second" },
          { op: "replace", name: "accept", value: "text/plain" },
          { op: "remove", name: "X-Last" }
        ],
        [...client, "x-last", "1"]
      )
      assert.deepStrictEqual(sent, ["x-team", "first", "accept", "text/plain"])
    })
  )

  it.effect("leave the headers that have several values, and all others, as they came", () =>
    Effect.gen(function* () {
      const many = ["X-Many", "1", "accept", "*/*", "x-many", "2", "X-MANY", "3"]
      assert.deepStrictEqual(yield* apply([{ op: "remove", name: "x-none" }], many), many)
    })
  )

  it.effect("do not touch what they were given: another attempt begins with the same", () =>
    Effect.gen(function* () {
      const given = Object.freeze(["x-team", "client"])
      yield* headersOf({ headers: [{ op: "remove", name: "x-team" }], auth: { type: "bearer", token: "t" } }, given)
      assert.deepStrictEqual(given, ["x-team", "client"])
    })
  )
})

describe("what goes to Huawei's gateway", () => {
  const keys = { type: "apig", accessKey: "ak", secretKey: "sk" }
  const backends: ReadonlyArray<readonly [string, object]> = [
    ["signed", { adapter: "huawei-apig", auth: keys }],
    ["signed, another kind of engine", { adapter: "vllm", auth: keys }],
    ["with an app code", { adapter: "huawei-apig", auth: { type: "header", name: "X-Apig-AppCode", value: "ours" } }]
  ]
  const decisive = [
    "x-stage",
    "X-STAGE",
    "x-project-id",
    "X-Domain-Id",
    "x-security-token",
    "X-Auth-Token",
    "x-subject-token",
    "x-apig-appcode",
    "X-Apig-Mode",
    "x-sdk-date",
    "X-Sdk-Content-Sha256"
  ]
  const valuesOf = (headers: ReadonlyArray<string>, name: string) =>
    headers.filter((_, index) => index % 2 === 1 && headers[index - 1]?.toLowerCase() === name.toLowerCase())

  for (const [how, backend] of backends) {
    it.effect(`a client does not choose stage, project, account or mode: ${how}`, () =>
      Effect.gen(function* () {
        for (const name of decisive) {
          const sent = yield* headersOf(backend, [name, "of the client", "x-stages", "kept", name, "again"])
          for (const value of ["of the client", "again"]) assert.notInclude(sent, value, name)
          assert.deepStrictEqual(valuesOf(sent, "x-stages"), ["kept"])
        }
      })
    )

    it.effect(`the configuration does, whatever the client sends: ${how}`, () =>
      Effect.gen(function* () {
        for (const name of ["X-Stage", "x-project-id", "X-Security-Token"]) {
          const headers = [{ op: "insert", name, value: "configured" }]
          const sent = yield* headersOf({ ...backend, headers }, [name.toLowerCase(), "of the client"])
          assert.deepStrictEqual(valuesOf(sent, name), ["configured"])
        }
      })
    )
  }

  it.effect("other engines get such headers as they were sent", () =>
    Effect.gen(function* () {
      const client = decisive.flatMap((name) => [name, "of the client"])
      assert.deepStrictEqual(yield* headersOf({ adapter: "vllm" }, client), client)
    })
  )
})

describe("a request of any kind", () => {
  const name = fc.constantFrom("accept", "X-Team", "x-team", "Authorization", "AUTHORIZATION", "x-a")
  const value = fc.string({ minLength: 1, maxLength: 8, unit: "grapheme-ascii" }).filter((text) => text.trim() === text)
  const sent = fc.array(fc.tuple(name, value), { maxLength: 8 })
  const operation = fc.oneof(
    fc.record({ op: fc.constantFrom("insert", "replace"), name, value }),
    fc.record({ op: fc.constant("remove"), name })
  )

  it("the backend gets its one credential, and no other value in that header", () => {
    holdsFor(fc.tuple(sent, fc.array(operation, { maxLength: 4 })), ([client, headers]) => {
      const all = Effect.runSync(headersOf({ auth: { type: "bearer", token: "t-1" }, headers }, client.flat()))
      const credentials = all.flatMap((each, index) =>
        index % 2 === 0 && each.toLowerCase() === "authorization" ? [all[index + 1]] : []
      )
      assert.deepStrictEqual(credentials, ["Bearer t-1"])
    })
  })

  it("every header that no operation names arrives as it was sent, in its order", () => {
    holdsFor(fc.tuple(sent, fc.array(operation, { maxLength: 4 })), ([client, headers]) => {
      const all = Effect.runSync(headersOf({ headers }, client.flat()))
      const named = new Set(headers.map((each) => each.name.toLowerCase()))
      const pairs = all.flatMap((each, index) => (index % 2 === 0 ? [[each, all[index + 1]]] : []))
      const untouched = (list: ReadonlyArray<ReadonlyArray<string | undefined>>) =>
        list.filter(([each = ""]) => !named.has(each.toLowerCase()))
      assert.deepStrictEqual(untouched(pairs), untouched(client))
    })
  })

  it("a request's path ends where it ended and begins where the backend does, byte for byte", () => {
    const rest = fc.string({ unit: fc.constantFrom("a", "/", "%2F", "%C3", ".", ";", "~", "+"), maxLength: 12 })
    const base = fc.constantFrom("", "/", "/v1", "/api", "/api/v1/", "/x/y")
    const prefix = fc.constantFrom(undefined, "", "/", "/v1", "/openai/v1/")
    holdsFor(fc.tuple(base, prefix, rest, fc.constantFrom("", "?a=b", "?%zz&&")), ([at, pathPrefix, tail, query]) => {
      const { entry } = Effect.runSync(
        lone({ url: `http://h:1${at}`, ...(pathPrefix !== undefined && { pathPrefix }) })
      )
      const prepared = prepare(entry.config, genericAdapter)
      for (const [path, kept] of [
        [`/v1/${tail}`, `/${tail}`],
        [`/other/${tail}`, `/other/${tail}`]
      ] as const) {
        const result = targetOf(prepared, path, query)
        assert.isTrue(result.endsWith(kept + query), `${path} becomes ${result}`)
        const before = result.slice(0, result.length - kept.length - query.length)
        assert.match(before, /^(\/[a-z0-9]+)*$/, `${path} becomes ${result}`)
      }
    })
  })

  it.effect("a request's query stays, with what the backend's address adds said once", () =>
    Effect.gen(function* () {
      const { entry } = yield* lone({ adapter: "azure-openai", url: "https://r.openai.azure.com?api-version=preview" })
      const prepared = prepare(entry.config, genericAdapter)
      const query = fc.oneof(
        fc.webQueryParameters().map((text) => `?${text}`),
        fc.constantFrom("", "?", "?a=1&", "?api-version=mine", "?api-version", "?%zz&&")
      )
      holdsFor(query, (search) => {
        const to = targetOf(prepared, "/v1/x", search)
        assert.isTrue(to.startsWith(`/v1/x${search}`), to)
        const own = new URLSearchParams(search).getAll("api-version")
        const expected = own.length === 0 ? ["preview"] : own
        assert.deepStrictEqual(new URL(to, "http://h").searchParams.getAll("api-version"), expected)
      })
    })
  )
})
