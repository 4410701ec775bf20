import { assert, describe, it } from "@effect/vitest"
import { readStreamedError } from "../../src/protocol/StreamedError.ts"

const statusOf = (value: unknown) => readStreamedError("chat", false, value, JSON.stringify(value))?.status

describe("the status of an error in a stream", () => {
  it.each([
    [{ error: { code: 404 } }, 404],
    [{ error: { code: "429" } }, 429],
    [{ error: { status: 503 } }, 503],
    [{ error: { status_code: 502 } }, 502],
    [{ error: "x", status: 422 }, 422],
    [{ error: "x", error_type: "validation" }, 422],
    [{ error: { code: 200, type: "invalid_request_error" } }, 400],
    [{ error: { code: "invalid_api_key", type: "invalid_request_error" } }, 400],
    [{ error: { type: "authentication_error" } }, 401],
    [{ error: { type: "permission_error" } }, 403],
    [{ error: { type: "not_found_error" } }, 404],
    [{ error: { type: "request_too_large" } }, 413],
    [{ error: { type: "rate_limit_error" } }, 429],
    [{ error: { type: "api_error" } }, 500],
    [{ error: { type: "overloaded_error" } }, 503],
    [{ error: { type: "not_supported_error" } }, 501],
    [{ object: "error", message: "x", type: "NotFoundError" }, 404],
    [{ error: { code: 99_999 } }, 500],
    [{ error: { code: -500, type: 7 } }, 500],
    [{ error: { message: "something that nobody knows", type: "strange", code: "odd" } }, 500],
    [{ error: { type: "constructor", code: "__proto__" } }, 500]
  ])("the status of %j is %i", (value, status) => {
    assert.strictEqual(statusOf(value), status)
  })

  it.each([
    [{}],
    [{ error: null }],
    [{ error: "" }],
    [{ error: {} }],
    [{ error: 0 }],
    [null],
    ["error"],
    [[{ error: "x" }]],
    [7]
  ])("is none for %j, which is no error", (value) => {
    assert.isUndefined(statusOf(value))
  })
})

describe("the answer that an error in a stream stands for", () => {
  const bodyOf = (
    dialect: "chat" | "messages" | "responses" | "ollama",
    value: unknown,
    named = false,
    text = ""
  ): unknown => JSON.parse(readStreamedError(dialect, named, value, text)?.body ?? "null")

  it("is the event itself where that has the form already", () => {
    for (const value of [{ error: { message: "x", code: 400 } }, { object: "error", message: "x", code: 400 }]) {
      assert.deepStrictEqual(bodyOf("chat", value), value)
    }
    const own = { type: "error", error: { type: "overloaded_error", message: "x" } }
    assert.deepStrictEqual(bodyOf("messages", own), own)
  })

  it("has the form of its dialect where the event has another", () => {
    const error = { message: "x", type: "server_error", param: null, code: "c" }
    assert.deepStrictEqual(bodyOf("responses", { type: "error", code: "c", message: "x" }), { error })
    assert.deepStrictEqual(
      bodyOf("responses", { type: "response.failed", response: { error: { code: "c", message: "x" } } }),
      { error }
    )
    assert.deepStrictEqual(bodyOf("chat", { error: "x" }), { error: { ...error, code: null } })
    assert.deepStrictEqual(bodyOf("chat", undefined, true, "x"), { error: { ...error, code: null } })
    assert.deepStrictEqual(bodyOf("messages", { error: { message: "x", code: 400 } }), {
      type: "error",
      error: { type: "api_error", message: "x" }
    })
    assert.deepStrictEqual(bodyOf("ollama", { error: { message: "x" } }), { error: "x" })
  })
})
