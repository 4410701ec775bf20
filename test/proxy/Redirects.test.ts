/** What a client reads of a backend that sends it elsewhere. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { type Question, withGateway } from "./Harness.ts"
import { answer } from "./ScriptedTransport.ts"

const own = "http://a.test"
const ways: ReadonlyArray<readonly [string, Question, string]> = [
  ["by model", {}, "/v1/chat/completions"],
  ["by path", { method: "GET", path: "/docs" }, "/docs"],
  ["by path, below /v1", { method: "POST", path: "/v1/files" }, "/v1/files"]
]

describe("a redirect of a backend to itself", () => {
  for (const status of [201, 300, 301, 302, 303, 307, 308]) {
    for (const [way, question, path] of ways) {
      it.effect(`is passed on with a path in place of its address, and not followed: ${status}, ${way}`, () =>
        withGateway(
          { script: { a: [answer(status, "", { headers: { location: `${own}${path}/`, "x-kept": "1" } })] } },
          (gateway) =>
            Effect.gen(function* () {
              const reading = yield* gateway.ask(question)
              assert.strictEqual(reading.status, status)
              assert.deepInclude(reading.headers, { location: `${path}/`, "x-kept": "1" })
              assert.strictEqual(gateway.transport.exchanges.length, 1)
            })
        )
      )
    }
  }
})

describe("the page that comes with a redirect", () => {
  const page = (text: string, headers: Readonly<Record<string, string>> = {}) => ({
    script: { a: [answer(302, text, { headers: { "content-type": "text/html", location: "/v1/x", ...headers } })] }
  })
  const telling: ReadonlyArray<readonly [string, string, Readonly<Record<string, string>>]> = [
    ["as a link", `<a href="${own}/docs/">here</a>`, {}],
    ["in capitals", "Moved to HTTP://A.TEST/docs", {}],
    ["of a known length", `<a href="${own}/">`, { "content-length": String(`<a href="${own}/">`.length) }],
    ["that cannot be read", "\u001f\u008b...", { "content-encoding": "gzip" }],
    ["that is far too long for one", "x".repeat(2_000_000), {}]
  ]
  for (const [how, text, headers] of telling) {
    for (const [way, question] of ways) {
      it.effect(`is left out where it tells the address, or may: ${how}, ${way}`, () =>
        withGateway(page(text, headers), (gateway) =>
          Effect.gen(function* () {
            const reading = yield* gateway.ask(question)
            assert.deepStrictEqual([reading.status, reading.text, reading.broken], [302, "", false])
            assert.notProperty(reading.headers, "content-type")
            assert.notProperty(reading.headers, "content-encoding")
          })
        )
      )
    }
  }

  for (const text of ["", "Found. Redirecting to /v1/x", '<a href="https://elsewhere.example/">']) {
    for (const [way, question] of ways) {
      it.effect(`is passed on where it tells nothing: ${JSON.stringify(text)}, ${way}`, () =>
        withGateway(page(text), (gateway) =>
          Effect.gen(function* () {
            const reading = yield* gateway.ask(question)
            assert.deepStrictEqual([reading.status, reading.text], [302, text])
            assert.propertyVal(reading.headers, "content-type", "text/html")
          })
        )
      )
    }
  }

  it.effect("is none of a 304, whose headers stay as they are", () =>
    withGateway(
      { script: { a: [answer(304, "", { headers: { etag: "e", "content-encoding": "gzip" } })] } },
      (gateway) =>
        Effect.gen(function* () {
          const reading = yield* gateway.ask({ method: "GET", path: "/docs" })
          assert.strictEqual(reading.status, 304)
          assert.deepInclude(reading.headers, { etag: "e", "content-encoding": "gzip" })
        })
    )
  )
})
