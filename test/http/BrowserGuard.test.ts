import { assert, describe, it } from "@effect/vitest"
import { corsHeaders, isForeignApp, isPreflight, preflightHeaders, refuseBrowser } from "../../src/http/BrowserGuard.ts"
import { incoming, listener } from "./Requests.ts"

type Headers = Readonly<Record<string, string>>

const local = listener()

/** `passes`, or the code of the refusal. */
const judged = (headers: Headers, on = local, open = true) =>
  refuseBrowser(incoming({ headers }), on, open)?.code ?? "passes"

describe("a page in a browser", () => {
  it.each([
    ["http://evil.example", "127.0.0.1:8000"],
    ["https://127.0.0.1:8000", "127.0.0.1:8000"],
    ["http://127.0.0.1:8001", "127.0.0.1:8000"],
    ["http://127.0.0.1", "127.0.0.1:8000"],
    ["http://localhost:8000", "127.0.0.1:8000"],
    ["null", "127.0.0.1:8000"],
    ["", "127.0.0.1:8000"],
    ["http://127.0.0.1:8000.evil.example", "127.0.0.1:8000"],
    ["HTTPS://evil.example", "127.0.0.1:8000"],
    ["blob:http://127.0.0.1:8000/1", "127.0.0.1:8000"],
    ["app://notes.example, http://evil.example", "127.0.0.1:8000"],
    ["app://notes.example http://evil.example", "127.0.0.1:8000"],
    ["//evil.example", "localhost:8000"]
  ])("a page from %j is refused at %s, with a key and without", (origin, host) => {
    assert.strictEqual(judged({ origin, host }), "origin_not_allowed")
    assert.strictEqual(judged({ origin, host }, local, false), "origin_not_allowed")
  })

  it.each([
    ["http://127.0.0.1:8000", "127.0.0.1:8000"],
    ["http://localhost:8000", "localhost:8000"],
    ["http://LOCALHOST:8000", "localhost:8000"],
    ["http://[::1]:8000", "[::1]:8000"],
    ["http://localhost", "localhost"]
  ])("a page from the listener's own address %s may ask", (origin, host) => {
    assert.strictEqual(judged({ origin, host }), "passes")
  })

  it("a page from the listener's own address is told apart by its scheme", () => {
    const secure = listener({ tls: { cert: "c", key: "k" } })
    assert.strictEqual(judged({ origin: "https://localhost", host: "localhost" }, secure), "passes")
    assert.strictEqual(judged({ origin: "http://localhost", host: "localhost" }, secure), "origin_not_allowed")
  })

  it("a page from a configured origin may ask, and a page from any other may not", () => {
    const shared = listener({ cors: { origins: ["https://app.example"] } })
    assert.strictEqual(judged({ origin: "https://app.example", host: "localhost" }, shared), "passes")
    assert.strictEqual(judged({ origin: "https://app.example.evil", host: "localhost" }, shared), "origin_not_allowed")
    assert.strictEqual(
      judged({ origin: "https://anything", host: "localhost" }, listener({ cors: { origins: ["*"] } })),
      "passes"
    )
  })

  it("may ask where there is no Host that could be its own only from a configured origin", () => {
    assert.strictEqual(judged({ origin: "http://localhost:8000" }), "origin_not_allowed")
  })
})

const apps = [
  "app://notes.example",
  "app://obsidian.md",
  "tauri://localhost",
  "capacitor://localhost",
  "ionic://localhost",
  "vscode-webview://0a1b2c",
  "chrome-extension://abcdefghijklmnop",
  "safari-web-extension://0A1B2C3D-0000-0000-0000-000000000000",
  "file://",
  "APP://Notes.Example"
]

describe("an app with an origin of its own", () => {
  it.each(apps)("%s may ask where a key is asked for, and not where none is", (origin) => {
    assert.strictEqual(judged({ origin, host: "127.0.0.1:8000" }, local, false), "passes")
    assert.strictEqual(judged({ origin, host: "127.0.0.1:8000" }, local, true), "origin_not_allowed")
    assert.isTrue(isForeignApp(incoming({ headers: { origin } }), local))
  })

  it.each(apps)("%s may ask without a key where it is listed, by itself or by its scheme", (origin) => {
    for (const entry of [origin, `${origin.slice(0, origin.indexOf("://"))}://*`, "*"]) {
      const shared = listener({ cors: { origins: ["https://other.example", entry] } })
      assert.strictEqual(judged({ origin, host: "127.0.0.1:8000" }, shared, true), "passes", entry)
      assert.isFalse(isForeignApp(incoming({ headers: { origin } }), shared))
      assert.isFalse(isForeignApp(incoming(), shared))
    }
  })

  it("does not make a rebound name one of this machine", () => {
    const shared = listener({ cors: { origins: ["app://*"] } })
    assert.strictEqual(judged({ origin: "app://notes.example", host: "evil.example" }, shared), "origin_not_allowed")
  })
})

describe("an origin that is refused", () => {
  it("is told which setting lets it in", () => {
    for (const origin of ["https://evil.example", "null", "app://notes.example"]) {
      const refused = refuseBrowser(incoming({ headers: { origin, host: "127.0.0.1" } }), local, true)
      assert.include(refused?.message, "cors.origins")
    }
  })

  it("may be null itself, which is listed as every other", () => {
    const shared = listener({ cors: { origins: ["null"] } })
    assert.strictEqual(judged({ origin: "null", host: "localhost" }, shared), "passes")
    assert.strictEqual(judged({ origin: "app://null", host: "localhost" }, shared), "origin_not_allowed")
  })
})

describe("a name that was rebound to this machine", () => {
  it.each([
    "evil.example",
    "evil.example:8000",
    "127.0.0.1.evil.example",
    "localhost.evil.example:8000",
    "10.0.0.1",
    "[::2]:8000",
    "[::1]evil.example",
    "127.0.0.1:8000@evil.example",
    "",
    "0.0.0.0:8000"
  ])("%j is refused on loopback where no key is asked for", (host) => {
    assert.strictEqual(judged({ host }), "origin_not_allowed")
    assert.strictEqual(judged({ ":authority": host }), "origin_not_allowed")
  })

  it("is refused on every loopback address that a listener can have", () => {
    for (const host of ["localhost", "127.0.0.2", "::1", "[::1]"]) {
      assert.strictEqual(judged({ host: "evil.example" }, listener({ host })), "origin_not_allowed")
    }
  })

  it("is refused though it calls itself its own origin", () => {
    assert.strictEqual(judged({ host: "evil.example:8000", origin: "http://evil.example:8000" }), "origin_not_allowed")
  })

  it.each([
    "localhost",
    "localhost:8000",
    "LocalHost:8000",
    "127.0.0.1:8000",
    "127.1.2.3",
    "[::1]:8000",
    "[::1]",
    "app.localhost:8000",
    "[::ffff:127.0.0.1]:1"
  ])("is not what %j is", (host) => {
    assert.strictEqual(judged({ host }), "passes")
  })

  it("needs a key, and so does no harm, where keys are asked for", () => {
    assert.strictEqual(judged({ host: "evil.example" }, local, false), "passes")
  })

  it("is any name at all on a listener that is open to others on purpose", () => {
    assert.strictEqual(judged({ host: "gateway.example" }, listener({ host: "0.0.0.0", auth: false })), "passes")
  })
})

describe("a program that is no browser", () => {
  it("may ask, with Host or without", () => {
    assert.strictEqual(judged({ host: "127.0.0.1:8000" }), "passes")
    assert.strictEqual(judged({}), "passes")
  })
})

describe("what a browser is told", () => {
  const shared = listener({ cors: { origins: ["https://app.example"] } })

  it("lets pages of configured origins read the answer, and no others", () => {
    const headers = corsHeaders(incoming({ headers: { origin: "https://app.example" } }), shared, true)
    assert.strictEqual(headers["access-control-allow-origin"], "https://app.example")
    assert.strictEqual(headers["vary"], "Origin")
    assert.notProperty(headers, "access-control-allow-credentials")
    assert.deepStrictEqual(corsHeaders(incoming({ headers: { origin: "https://evil.example" } }), shared, false), {})
    assert.deepStrictEqual(corsHeaders(incoming(), shared, false), {})
    assert.deepStrictEqual(corsHeaders(incoming({ headers: { origin: "https://app.example" } }), local, false), {})
  })

  it("lets apps read an answer only where they are listed, or where a key is asked for", () => {
    for (const origin of apps) {
      const of = (on: typeof local, open: boolean) =>
        corsHeaders(incoming({ headers: { origin } }), on, open)["access-control-allow-origin"]
      assert.strictEqual(of(local, false), origin)
      assert.isUndefined(of(local, true))
      assert.strictEqual(of(listener({ cors: { origins: [origin] } }), true), origin)
    }
  })

  it("a browser is told which methods and headers it may use before it asks", () => {
    const asked = {
      origin: "https://app.example",
      "access-control-request-method": "POST",
      "access-control-request-headers": "x-a"
    }
    const request = incoming({ method: "OPTIONS", headers: asked })
    assert.isTrue(isPreflight(request))
    assert.strictEqual(preflightHeaders(request)["access-control-allow-headers"], "x-a")
    assert.include(preflightHeaders(request)["access-control-allow-methods"], "POST")
    assert.isFalse(isPreflight(incoming({ method: "OPTIONS" })))
    assert.isFalse(isPreflight(incoming({ method: "POST", headers: asked })))
  })
})
