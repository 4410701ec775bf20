import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { HttpServerResponse } from "effect/http"
import { type BuiltinRoute, nothingHere, wrongMethod } from "../../../src/http/routes/BuiltinRoutes.ts"
import { answerOf } from "../Requests.ts"

const answering = (text: string) => () => Effect.succeed(HttpServerResponse.text(text))

const outcome = (methods: BuiltinRoute["methods"], method: string) =>
  answerOf({ route: "/x", access: "public", methods }, { method }).pipe(
    Effect.flatMap((response) => Effect.promise(() => response.text())),
    Effect.catch((error) => Effect.succeed(`${error.status} ${"allow" in error ? error.allow : error.code}`))
  )

describe("a route of the gateway's own", () => {
  const methods = { GET: answering("got"), POST: answering("posted") }

  it.effect.each([
    { method: "GET", expected: "got" },
    { method: "HEAD", expected: "got" },
    { method: "POST", expected: "posted" },
    { method: "DELETE", expected: "405 GET, HEAD, POST" },
    { method: "get", expected: "405 GET, HEAD, POST" },
    { method: "constructor", expected: "405 GET, HEAD, POST" },
    { method: "toString", expected: "405 GET, HEAD, POST" },
    { method: "__proto__", expected: "405 GET, HEAD, POST" }
  ])("answers to $method: $expected", ({ expected, method }) =>
    Effect.map(outcome(methods, method), (found) => {
      assert.strictEqual(found, expected)
    })
  )

  it.effect("may answer to every method, and to HEAD in its own way", () =>
    Effect.gen(function* () {
      const all = { "*": answering("any"), HEAD: answering("head") }
      assert.deepStrictEqual(
        yield* Effect.forEach(["GET", "PURGE", "HEAD", "valueOf"], (method) => outcome(all, method)),
        ["any", "any", "head", "any"]
      )
    })
  )

  it.effect("a route that is not there is not found, with any method", () =>
    Effect.gen(function* () {
      for (const method of ["GET", "POST", "hasOwnProperty"]) {
        assert.strictEqual(yield* outcome(nothingHere.methods, method), "404 not_found")
      }
    })
  )
})

describe("a wrong method", () => {
  it("is told the right ones", () => {
    assert.strictEqual(wrongMethod(["POST"]).allow, "POST")
    assert.strictEqual(wrongMethod(["GET", "PATCH"]).allow, "GET, HEAD, PATCH")
  })
})
