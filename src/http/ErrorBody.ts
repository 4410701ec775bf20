/** The gateway's own errors as a client reads them: one function for every dialect. */

import type { GatewayError } from "../domain/Errors.ts"
import { speaksOllama } from "../protocol/Endpoint.ts"

export interface ErrorResponse {
  readonly status: number
  readonly headers: Record<string, string>
  readonly body: string
}

/** Errors that a client may hope to get past by itself; for all others Weir has done what could be done. */
const worthRetrying = new Set([408, 429, 503])

/** In Anthropic's form below `/v1/messages`, in Ollama's at its endpoints, in OpenAI's everywhere else. */
export const errorResponse = (error: GatewayError, path: string): ErrorResponse => ({
  status: error.status,
  headers: {
    "content-type": "application/json",
    "x-should-retry": String(worthRetrying.has(error.status)),
    ...((error.status === 429 || error.status === 503) && { "retry-after": String(secondsUntil(error)) }),
    ...(error.status === 401 && { "www-authenticate": "Bearer" }),
    // RFC 6455, 4.4: which version would be understood.
    ...(error.status === 426 && { upgrade: "websocket", "sec-websocket-version": "13" }),
    ...("allow" in error && { allow: error.allow })
  },
  body: JSON.stringify(bodyAt(path, error))
})

const bodyAt = (path: string, error: GatewayError): object => {
  if (path.startsWith("/v1/messages")) return anthropicBody(error)
  return speaksOllama(path) ? { error: error.message } : openAiBody(error)
}

/** OpenAI's clients wait for a minute at most, and need at least a second. */
const secondsUntil = ({ retryAfter = 1 }: GatewayError): number => Math.min(60, Math.max(1, Math.ceil(retryAfter)))

const openAiBody = ({ code, message, param, status }: GatewayError) => ({
  error: { message, type: openAiType(status), param: param ?? null, code }
})

const openAiType = (status: number): string => {
  if (status === 401) return "authentication_error"
  if (status === 403) return "permission_error"
  if (status === 429) return "rate_limit_error"
  return status < 500 ? "invalid_request_error" : "server_error"
}

const anthropicBody = ({ message, status }: GatewayError) => ({
  type: "error",
  error: { type: anthropicType(status), message }
})

const anthropicType = (status: number): string => {
  switch (status) {
    case 401:
      return "authentication_error"
    case 403:
      return "permission_error"
    case 404:
      return "not_found_error"
    case 413:
    case 431:
      return "request_too_large"
    case 429:
      return "rate_limit_error"
    case 503:
      return "overloaded_error"
    case 504:
      return "timeout_error"
    default:
      return status < 500 ? "invalid_request_error" : "api_error"
  }
}
