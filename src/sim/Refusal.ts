/** The server's own errors, in the form of the API that was spoken to. */
import { Schema } from "effect"
import { HttpServerResponse } from "effect/http"

/** A request that is answered with an error. */
export class Refusal extends Schema.TaggedError<Refusal>()("Refusal", {
  status: Schema.Int,
  code: Schema.String,
  message: Schema.String,
  param: Schema.optionalKey(Schema.String),
  retryAfter: Schema.optionalKey(Schema.String)
}) {}

/** OpenAI's error body; under `/v1/messages` Anthropic's. */
export const refusalResponse = (refusal: Refusal, path: string): HttpServerResponse.HttpServerResponse => {
  const type = errorType(refusal.status)
  const body =
    path === "/v1/messages"
      ? { type: "error", error: { type: anthropicTypes.get(refusal.status) ?? type, message: refusal.message } }
      : { error: { message: refusal.message, type, param: refusal.param ?? null, code: refusal.code } }
  return HttpServerResponse.jsonUnsafe(body, {
    status: refusal.status,
    headers: {
      ...(refusal.retryAfter !== undefined && { "retry-after": refusal.retryAfter }),
      ...(refusal.status === 401 && { "www-authenticate": "Bearer" })
    }
  })
}

const errorType = (status: number): string => {
  if (status === 401) return "authentication_error"
  if (status === 429) return "rate_limit_error"
  return status >= 500 ? "server_error" : "invalid_request_error"
}

const anthropicTypes = new Map([
  [404, "not_found_error"],
  [500, "api_error"],
  [503, "overloaded_error"],
  [529, "overloaded_error"]
])

const codes = new Map([
  [400, "bad_request"],
  [401, "invalid_api_key"],
  [403, "permission_denied"],
  [404, "not_found"],
  [408, "request_timeout"],
  [413, "request_too_large"],
  [429, "rate_limit_exceeded"],
  [500, "internal_error"],
  [502, "bad_gateway"],
  [503, "overloaded"],
  [504, "timeout"]
])

/** The usual `code` of a status. */
export const codeOf = (status: number): string => codes.get(status) ?? `status_${status}`
