/**
 * An error that a backend tells in a stream, whose head said 200: which status it would have had as an answer of its own,
 * and how that answer would have looked.
 */
import type { Dialect } from "./Endpoint.ts"
import { type Fields, isFields } from "./JsonFields.ts"

export interface StreamedError {
  /** 400 to 599. */
  readonly status: number
  /** JSON, in the form in which the dialect answers with an error. */
  readonly body: string
}

/** Words for a status in OpenAI's, Anthropic's, llama.cpp's, vLLM's, SGLang's and TGI's errors. */
const statusByWord: Readonly<Record<string, number>> = {
  invalid_request_error: 400,
  invalid_request: 400,
  invalid_prompt: 400,
  bad_request: 400,
  badrequesterror: 400,
  valueerror: 400,
  context_length_exceeded: 400,
  exceed_context_size_error: 400,
  content_policy_violation: 400,
  content_filter: 400,
  authentication_error: 401,
  invalid_api_key: 401,
  billing_error: 402,
  permission_error: 403,
  permission_denied: 403,
  not_found_error: 404,
  notfounderror: 404,
  not_found: 404,
  model_not_found: 404,
  request_too_large: 413,
  unprocessableentityerror: 422,
  validation: 422,
  rate_limit_error: 429,
  rate_limit_exceeded: 429,
  tokens: 429,
  requests: 429,
  insufficient_quota: 429,
  overloaded: 429,
  api_error: 500,
  server_error: 500,
  internal_server_error: 500,
  internalservererror: 500,
  not_supported_error: 501,
  unavailable_error: 503,
  service_unavailable: 503,
  timeout_error: 504,
  overloaded_error: 503
}

/**
 * The error that an event tells; `undefined` for any other event. `named`: its name says so. `value`: its data parsed,
 * `undefined` where that is no JSON; `text`: its data as it came.
 */
export const readStreamedError = (
  dialect: Dialect,
  named: boolean,
  value: unknown,
  text: string
): StreamedError | undefined => {
  const event = isFields(value) ? value : {}
  const detail = detailOf(event) ?? (named ? { ...event, message: messageOf(event) ?? text } : undefined)
  if (detail === undefined) return undefined
  return { status: statusOf(event, detail), body: JSON.stringify(bodyOf(dialect, event, detail)) }
}

/** What went wrong, where the event says that something did. */
const detailOf = (event: Fields): Fields | undefined => {
  const { error, object, response, type } = event
  if (isFields(error)) return Object.keys(error).length > 0 ? error : undefined
  if (typeof error === "string" && error !== "") return { message: error }
  if (type === "response.failed") return (isFields(response) ? detailOf(response) : undefined) ?? {}
  return type === "error" || object === "error" ? event : undefined
}

/** A number says more than a word, and one of the error itself more than one beside it. */
const statusOf = (event: Fields, detail: Fields): number => {
  for (const { code, status, status_code: statusCode } of [detail, event]) {
    const number = [code, status, statusCode].map(Number).find((each) => isErrorStatus.test(String(each)))
    if (number !== undefined) return number
  }
  for (const word of [detail["type"], detail["code"], event["error_type"]]) {
    const status = typeof word === "string" ? wordsOf.get(word.toLowerCase()) : undefined
    if (status !== undefined) return status
  }
  return 500
}

const wordsOf = new Map(Object.entries(statusByWord))

const isErrorStatus = /^[45]\d\d$/

const messageOf = ({ message }: Fields): string | undefined =>
  typeof message === "string" && message !== "" ? message : undefined

/** The event as it is where that is already an answer's form; else what it says, in that form. */
const bodyOf = (dialect: Dialect, event: Fields, detail: Fields): Fields => {
  const message = messageOf(detail) ?? "The backend failed before its answer began."
  const isNested = isFields(event["error"])
  switch (dialect) {
    case "ollama":
      return { error: message }
    case "messages":
      if (event["type"] === "error" && isNested) return event
      return { type: "error", error: { type: typeOf(detail, "api_error"), message } }
    case "chat":
    case "responses":
    case "none":
      if (event["object"] === "error" || (isNested && event["type"] === undefined)) return event
      return {
        error: {
          message,
          type: typeOf(detail, "server_error"),
          param: detail["param"] ?? null,
          code: detail["code"] ?? null
        }
      }
  }
}

const typeOf = ({ type }: Fields, otherwise: string): string =>
  typeof type === "string" && type !== "error" ? type : otherwise
