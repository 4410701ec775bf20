import { assert, describe, it } from "@effect/vitest"
import * as Errors from "../../src/domain/Errors.ts"
import { errorResponse } from "../../src/http/ErrorBody.ts"

const message = "What is wrong."

interface Row {
  readonly error: Errors.GatewayError
  readonly status: number
  readonly code: string
  /** What it is called in OpenAI's dialect and in Anthropic's. */
  readonly openai: string
  readonly anthropic: string
  readonly retry: boolean
}

const row = (
  error: Errors.GatewayError,
  status: number,
  code: string,
  openai: string,
  anthropic = openai,
  retry = false
): Row => ({
  error,
  status,
  code,
  openai,
  anthropic,
  retry
})

const bad = "invalid_request_error"

/** The table of the contract. */
const table: ReadonlyArray<Row> = [
  row(new Errors.InvalidJson({ message }), 400, "invalid_json", bad),
  row(new Errors.InvalidRequest({ message }), 400, "invalid_request", bad),
  row(new Errors.ModelRequired({ message }), 400, "model_required", bad),
  row(new Errors.ToolsNotSupported({ message }), 400, "tools_not_supported", bad),
  row(new Errors.InvalidApiKey({ message }), 401, "invalid_api_key", "authentication_error"),
  row(new Errors.ModelNotAllowed({ message }), 403, "model_not_allowed", "permission_error"),
  row(new Errors.PoolNotAllowed({ message }), 403, "pool_not_allowed", "permission_error"),
  row(new Errors.PathNotAllowed({ message }), 403, "path_not_allowed", "permission_error"),
  row(new Errors.OriginNotAllowed({ message }), 403, "origin_not_allowed", "permission_error"),
  row(new Errors.ModelNotFound({ message }), 404, "model_not_found", bad, "not_found_error"),
  row(new Errors.NotFound({ message }), 404, "not_found", bad, "not_found_error"),
  row(new Errors.MethodNotAllowed({ message, allow: "GET, HEAD" }), 405, "method_not_allowed", bad),
  row(new Errors.RequestTimeout({ message }), 408, "request_timeout", bad, bad, true),
  row(new Errors.RequestTooLarge({ message }), 413, "request_too_large", bad, "request_too_large"),
  row(new Errors.HeadTooLarge({ message }), 431, "request_too_large", bad, "request_too_large"),
  row(new Errors.UpgradeRequired({ message }), 426, "invalid_request", bad),
  row(
    new Errors.RateLimitExceeded({ message }),
    429,
    "rate_limit_exceeded",
    "rate_limit_error",
    "rate_limit_error",
    true
  ),
  row(new Errors.UpstreamError({ message }), 502, "upstream_error", "server_error", "api_error"),
  row(new Errors.QueueFull({ message }), 503, "queue_full", "server_error", "overloaded_error", true),
  row(new Errors.QueueTimeout({ message }), 503, "queue_timeout", "server_error", "overloaded_error", true),
  row(new Errors.NoHealthyBackend({ message }), 503, "no_healthy_backend", "server_error", "overloaded_error", true),
  row(new Errors.ShuttingDown({ message }), 503, "shutting_down", "server_error", "overloaded_error", true),
  row(new Errors.UpstreamTimeout({ message }), 504, "upstream_timeout", "server_error", "timeout_error"),
  row(new Errors.DeadlineExceeded({ message }), 504, "deadline_exceeded", "server_error", "timeout_error")
]

const parsed = (body: string): unknown => JSON.parse(body)

describe.each(table)("the error $code", ({ anthropic, code, error, openai, retry, status }) => {
  it(`has the status ${status}`, () => {
    assert.deepStrictEqual([error.status, error.code], [status, code])
    assert.strictEqual(errorResponse(error, "/v1/chat/completions").status, status)
  })

  it("reads as OpenAI's errors do", () => {
    const { body, headers } = errorResponse(error, "/v1/chat/completions")
    assert.deepStrictEqual(parsed(body), { error: { message, type: openai, param: null, code } })
    assert.strictEqual(headers["content-type"], "application/json")
  })

  it("reads as Anthropic's errors do below /v1/messages", () => {
    for (const path of ["/v1/messages", "/v1/messages/count_tokens"]) {
      assert.deepStrictEqual(parsed(errorResponse(error, path).body), {
        type: "error",
        error: { type: anthropic, message }
      })
    }
  })

  it("reads as Ollama's errors do at its endpoints and lists", () => {
    for (const path of [
      "/api/chat",
      "/api/generate",
      "/api/embed",
      "/api/embeddings",
      "/api/show",
      "/api/tags",
      "/api/ps"
    ]) {
      const { body, headers } = errorResponse(error, path)
      assert.deepStrictEqual(parsed(body), { error: message })
      assert.strictEqual(headers["content-type"], "application/json")
    }
    assert.deepStrictEqual(parsed(errorResponse(error, "/api/version").body), {
      error: { message, type: openai, param: null, code }
    })
  })

  it("tells clients whether they may hope to get past it by trying again", () => {
    assert.strictEqual(errorResponse(error, "/").headers["x-should-retry"], String(retry))
  })

  it("says when to come back if, and only if, that is why", () => {
    const seconds = errorResponse(error, "/").headers["retry-after"]
    if (status === 429 || status === 503) assert.match(seconds ?? "", /^([1-9]|[1-5]\d|60)$/)
    else assert.isUndefined(seconds)
  })
})

describe("an error", () => {
  it("names the field that is to blame", () => {
    const { body } = errorResponse(new Errors.ModelNotFound({ message, param: "model" }), "/")
    assert.nestedPropertyVal(parsed(body), "error.param", "model")
  })

  it("an error about a wrong method says which ones are right", () => {
    const error = new Errors.MethodNotAllowed({ message, allow: "GET, HEAD" })
    assert.strictEqual(errorResponse(error, "/").headers["allow"], "GET, HEAD")
  })

  it("an error about a missing key says how to send one", () => {
    assert.strictEqual(errorResponse(new Errors.InvalidApiKey({ message }), "/").headers["www-authenticate"], "Bearer")
    assert.notProperty(errorResponse(new Errors.ModelNotAllowed({ message }), "/").headers, "www-authenticate")
  })

  it.each([
    [7, "7"],
    [0, "1"],
    [3600, "60"],
    [undefined, "1"]
  ])("an error that wants a pause of %s seconds asks for one that clients heed: %s", (retryAfter, expected) => {
    const error = new Errors.QueueFull({ message, ...(retryAfter !== undefined && { retryAfter }) })
    assert.strictEqual(errorResponse(error, "/").headers["retry-after"], expected)
  })
})
