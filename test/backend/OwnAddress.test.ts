import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "fast-check"
import { genericAdapter } from "../../src/backend/Adapter.ts"
import { prepare, target } from "../../src/backend/Outgoing.ts"
import { mayTellAddress, OwnAddress } from "../../src/backend/OwnAddress.ts"
import { holdsFor } from "../Property.ts"
import { lone } from "../registry/Fixtures.ts"

const at = (more: object) =>
  Effect.map(lone(more), ({ entry }) => {
    const prepared = prepare(entry.config, genericAdapter)
    return { address: new OwnAddress(entry.config, prepared), prepared }
  })

const locationFor = Effect.fnUntraced(function* (backend: object, location: string, asked = "/v1/files") {
  const { address } = yield* at(backend)
  return address.conceal({ location }, asked)["location"]
})

describe("a reference to the backend itself", () => {
  const spellings: ReadonlyArray<readonly [url: string, location: string]> = [
    ["http://10.0.0.5:8001", "http://10.0.0.5:8001/v1/files/"],
    ["http://10.0.0.5:8001", "HTTP://10.0.0.5:8001/v1/files/"],
    ["http://10.0.0.5:8001", "https://10.0.0.5:8001/v1/files/"],
    ["http://10.0.0.5:8001", "//10.0.0.5:8001/v1/files/"],
    ["http://10.0.0.5:8001", "\\\\10.0.0.5:8001\\v1\\files\\"],
    ["http://10.0.0.5:8001", "http:\\\\10.0.0.5:8001/v1/files/"],
    ["http://10.0.0.5:8001", " http://10.0.0.5:8001/v1/files/ "],
    ["http://10.0.0.5:8001", "ht\ttp://10.0.0.5:8001/v1/files/"],
    ["http://10.0.0.5:8001", "http://u:p@10.0.0.5:8001/v1/files/"],
    ["http://10.0.0.5:8001", "http://167772165:8001/v1/files/"],
    ["http://10.0.0.5:8001", "http://0x0a.0.0.5:8001/v1/files/"],
    ["http://10.0.0.5:8001", "http://[::ffff:10.0.0.5]:8001/v1/files/"],
    ["http://10.0.0.5:8001", "http://[::ffff:a00:5]:8001/v1/files/"],
    ["http://10.0.0.5:8001", "http://10.0.0.5/v1/files/"],
    ["http://10.0.0.5:8001", "http://0.0.0.0:8001/v1/files/"],
    ["http://10.0.0.5:8001", "http://[::]:8001/v1/files/"],
    ["http://10.0.0.5:8001", "http://10.0.0.5:8001/v1/x/../files/"],
    ["http://10.0.0.5", "http://10.0.0.5:80/v1/files/"],
    ["https://gpu.internal", "https://GPU.internal.:443/v1/files/"],
    ["https://gpu.internal", "http://gpu.internal/v1/files/"],
    ["http://[fd00::5]:8001", "http://[FD00:0:0::0005]:8001/v1/files/"],
    ["http://127.0.0.1:8001", "http://localhost:8001/v1/files/"],
    ["http://localhost:8001", "http://127.0.0.1:8001/v1/files/"],
    ["http://localhost:8001", "http://[::1]:8001/v1/files/"],
    ["http://127.0.0.1:8001", "//127.1:8001/v1/files/"]
  ]
  for (const [url, location] of spellings) {
    it.effect(`becomes a path however it is spelt: ${JSON.stringify(location)} of ${url}`, () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* locationFor({ url }, location), "/v1/files/")
      })
    )
  }

  it.effect("is known by the names that the configuration gives it in requests and in TLS", () =>
    Effect.gen(function* () {
      const headers = [{ op: "replace", name: "Host", value: "engine.test:9000" }]
      const named = { url: "https://10.0.0.5:8001", tls: { serverName: "Inside.test" }, headers }
      for (const host of ["engine.test:8001", "engine.test", "inside.test:8001", "10.0.0.5:8001"]) {
        assert.strictEqual(yield* locationFor(named, `https://${host}/v1/x`), "/v1/x")
      }
    })
  )

  it.effect("keeps query and fragment, without the address in them", () =>
    Effect.gen(function* () {
      const url = "http://10.0.0.5:8001"
      assert.strictEqual(yield* locationFor({ url }, `${url}/v1/x?a=%20b&c#d`), "/v1/x?a=%20b&c#d")
      const back = `${url}/login?next=${encodeURIComponent(`${url}/v1/x`)}&then=${url}/y`
      assert.strictEqual(yield* locationFor({ url }, back), "/login?next=%2Fv1%2Fx&then=/y")
    })
  )

  it.effect("never becomes a reference to another host", () =>
    Effect.gen(function* () {
      const url = "http://10.0.0.5:8001"
      for (const path of ["//evil.test/x", "///evil.test", "/\\evil.test"]) {
        const location = (yield* locationFor({ url }, url + path)) ?? ""
        assert.strictEqual(new URL(String(location), "http://gateway.test").host, "gateway.test", String(location))
      }
    })
  )

  const mapped: ReadonlyArray<
    readonly [url: string, prefix: string | undefined, asked: string, location: string, expected: string]
  > = [
    ["http://h:1", undefined, "/v1/files", "http://h:1/v1/files/", "/v1/files/"],
    ["http://h:1", undefined, "/docs", "http://h:1/docs/", "/docs/"],
    ["http://h:1", undefined, "/docs", "http://h:1/v1/x", "/v1/x"],
    ["http://h:1/openai/v1", undefined, "/v1/files", "http://h:1/openai/v1/files/", "/v1/files/"],
    ["http://h:1/openai/v1", undefined, "/v1/files", "/openai/v1/files/", "/v1/files/"],
    ["http://h:1/openai/v1", undefined, "/v1/files", "files/", "/v1/files/"],
    ["http://h:1/openai/v1", undefined, "/v1/files", "../docs", "/docs"],
    ["http://h:1/openai/v1", undefined, "/docs", "http://h:1/openai/docs/", "/docs/"],
    ["http://h:1/api", undefined, "/v1/files", "http://h:1/api/files/", "/v1/files/"],
    ["http://h:1/api", undefined, "/tokenize", "http://h:1/api/tokenize/", "/tokenize/"],
    ["http://h:1", "", "/v1/files", "http://h:1/files/", "/v1/files/"],
    ["http://h:1", "", "/docs", "http://h:1/docs/", "/docs/"],
    ["http://h:1", "", "/docs", "http://h:1/v1/docs", "/v1/v1/docs"],
    ["http://h:1", "/serve/v1", "/v1/files", "http://h:1/serve/v1/files/", "/v1/files/"],
    ["http://h:1", "/serve/v1", "/v1/files", "http://h:1/serve/v1", "/v1"],
    ["http://h:1", "/serve/v1", "/v1/files", "http://h:1/metrics", "/metrics"],
    // No client can reach that address; it is not told either.
    ["http://h:1/base", undefined, "/v1/files", "http://h:1/elsewhere", "/elsewhere"]
  ]
  for (const [url, pathPrefix, asked, location, expected] of mapped) {
    it.effect(`leads to the same place here: ${location} of ${url} ${pathPrefix ?? ""}, asked ${asked}`, () =>
      Effect.gen(function* () {
        const backend = { url, ...(pathPrefix !== undefined && { pathPrefix }) }
        assert.strictEqual(yield* locationFor(backend, location, asked), expected)
      })
    )
  }

  it("leads back to the very path that was meant, for every address, prefix and path", () => {
    const script = fc.record({
      base: fc.constantFrom("", "/", "/v1", "/api", "/api/v1/", "/x/y"),
      pathPrefix: fc.constantFrom(undefined, "", "/v1", "/openai/v1/"),
      asked: fc.constantFrom("/v1/files", "/v1", "/docs", "/", "/v1beta"),
      meant: fc.constantFrom("/v1/", "/v1/a/b", "/v1", "/docs/", "/tokenize", "/v1beta/x", "/")
    })
    holdsFor(script, ({ asked, base, meant, pathPrefix }) => {
      const url = `http://10.0.0.5:8001${base}`
      const { address, prepared } = Effect.runSync(at({ url, ...(pathPrefix !== undefined && { pathPrefix }) }))
      const there = target(prepared, meant, "")
      for (const location of [`http://10.0.0.5:8001${there}`, there]) {
        const told = String(address.conceal({ location }, asked)["location"])
        const next = new URL(told, `http://gateway.test${asked}`).pathname
        assert.strictEqual(target(prepared, next, "") || "/", there || "/", `${location} is told as ${told}`)
      }
    })
  })
})

describe("a reference that is not to the backend", () => {
  for (const location of [
    "https://files.example/v1/x",
    "http://10.0.0.6:8001/v1/x",
    "http://10.0.0.5:9000/bucket",
    "http://10.0.0.55:8001/",
    "http://10.0.0.5.example:8001/",
    "//cdn.example/x",
    "mailto:a@10.0.0.5",
    "data:text/plain,x",
    "/v1/files/",
    "files/",
    "?page=2",
    "#part",
    "../x",
    ""
  ]) {
    it.effect(`is passed on as it came: ${location}`, () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* locationFor({ url: "http://10.0.0.5:8001" }, location), location)
      })
    )
  }

  it.effect("a reference that cannot be read is kept only where it does not name the backend", () =>
    Effect.gen(function* () {
      const url = "http://10.0.0.5:8001"
      assert.strictEqual(yield* locationFor({ url }, "http://[oops"), "http://[oops")
      assert.strictEqual(yield* locationFor({ url }, "http://10.0.0.5:99999/x"), "/")
    })
  )
})

describe("every header that holds references", () => {
  const url = "http://10.0.0.5:8001"
  const forms: ReadonlyArray<readonly [name: string, value: string, expected: string]> = [
    ["content-location", `${url}/v1/x`, "/v1/x"],
    ["operation-location", `${url}/v1/x?y`, "/v1/x?y"],
    ["azure-asyncoperation", `${url}/v1/x`, "/v1/x"],
    ["refresh", `5; url=${url}/v1/x`, "5; url=/v1/x"],
    ["refresh", `0;URL='${url}/v1/x'`, "0;URL='/v1/x'"],
    ["refresh", `0, "${url}/v1/x"`, '0, "/v1/x"'],
    ["refresh", "5", "5"],
    [
      "link",
      `<${url}/v1/x?page=2>; rel="next", <https://e.example/>; rel=help`,
      '</v1/x?page=2>; rel="next", <https://e.example/>; rel=help'
    ],
    ["set-cookie", "a=b; Domain=10.0.0.5; Path=/; Secure", "a=b; Path=/; Secure"],
    ["set-cookie", "a=b; domain=.10.0.0.5", "a=b"],
    ["set-cookie", "a=b; Domain=example.test; Path=/", "a=b; Domain=example.test; Path=/"]
  ]
  for (const [name, value, expected] of forms) {
    it.effect(`is looked at, once or several times: ${name}: ${value}`, () =>
      Effect.gen(function* () {
        const { address } = yield* at({ url })
        assert.isTrue(mayTellAddress({ [name]: value }))
        assert.deepStrictEqual(address.conceal({ [name]: value, etag: "e" }, "/v1/x"), { [name]: expected, etag: "e" })
        const twice = address.conceal({ [name]: [value, value] }, "/v1/x")
        assert.deepStrictEqual(twice, { [name]: [expected, expected] })
      })
    )
  }

  it("no other header is looked at: an answer without them stays as it is", () => {
    assert.isFalse(mayTellAddress({ "content-type": "application/json", etag: url }))
  })
})
