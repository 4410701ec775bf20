import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { isAppOrigin, listsOrigin, originProblem } from "../../src/domain/Origin.ts"
import { holdsFor } from "../Property.ts"

describe("an entry of cors.origins", () => {
  it.each([
    "*",
    "null",
    "https://app.example",
    "http://localhost:3000",
    "http://[::1]:3000",
    "HTTPS://App.Example",
    "https://*",
    "app://*",
    "app://notes.example",
    "tauri://localhost",
    "vscode-webview://0a1b",
    "chrome-extension://abcdef",
    "file://"
  ])("may be %s", (entry) => {
    assert.isUndefined(originProblem(entry))
  })

  it.each([
    ["https://app.example/", "browsers send https://app.example: write that"],
    ["https://app.example/chat", "browsers send https://app.example: write that"],
    ["https://app.example:443", "browsers send https://app.example: write that"],
    ["http://app.example:80/", "browsers send http://app.example: write that"],
    ["https://user@app.example", "browsers send https://app.example: write that"],
    ["https://b\u00fccher.example", "browsers send https://xn--bcher-kva.example: write that"],
    ["https://", "expected a host after the scheme"],
    ["https://a b", "expected a host after the scheme"],
    ["app.example", "with its scheme"],
    ["*.app.example", "with its scheme"],
    ["localhost:3000", "with its scheme"],
    ["", "with its scheme"],
    ["NULL", "with its scheme"],
    ["https://*.app.example", "* stands for a whole host (https://*)"],
    ["http://localhost:*", "* stands for a whole host (http://*)"],
    ["app://*/", "* stands for a whole host (app://*)"],
    ["app://notes*", "* stands for a whole host (app://*)"],
    ["app://notes.example/", "without path or slash"],
    ["app://notes.example, app://other", "without path or slash"],
    ["app://notes example", "without path or slash"]
  ])("is refused where no browser sends it, with what to write: %s", (entry, expected) => {
    assert.include(originProblem(entry), expected)
  })

  it("an accepted entry matches what it spells: none is accepted in silence and never matches", () => {
    const entries = fc.oneof(
      fc.webUrl(),
      fc.webUrl().map((url) => new URL(url).origin),
      fc.stringMatching(/^[a-z]{1,8}:\/\/[a-z0-9.*:/-]{0,12}$/)
    )
    holdsFor(entries, (entry) => {
      if (originProblem(entry) !== undefined || entry.endsWith("://*")) return
      const url = URL.parse(entry)
      const sent = url !== null && /^https?:$/.test(url.protocol) ? url.origin : entry
      assert.isTrue(listsOrigin([entry], sent), sent)
    })
  })

  it("an entry with * for its hosts is about that scheme alone", () => {
    assert.isTrue(listsOrigin(["app://*"], "app://anything"))
    assert.isTrue(listsOrigin(["APP://*"], "app://anything"))
    assert.isFalse(listsOrigin(["app://*"], "apps://anything"))
    assert.isFalse(listsOrigin(["app://*"], "myapp://anything"))
    assert.isFalse(listsOrigin(["http://*"], "https://app.example"))
    assert.isFalse(listsOrigin(["app://*"], "app://a, https://evil.example"))
    assert.isFalse(listsOrigin([], "app://anything"))
  })
})

describe("an app's own origin", () => {
  it("has another scheme than http and https, whatever follows", () => {
    holdsFor(fc.tuple(fc.constantFrom("http", "https", "HTTP", "hTtPs"), fc.string()), ([scheme, rest]) => {
      assert.isFalse(isAppOrigin(`${scheme}:${rest}`))
      assert.isFalse(isAppOrigin(`${scheme}://${rest}`))
    })
    for (const no of ["null", "", "app", "app:notes", "//app", "about:blank", "data:text/html,x", "blob:https://a/1"]) {
      assert.isFalse(isAppOrigin(no), no)
    }
  })
})
