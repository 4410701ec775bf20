/** Plain HTTP with what a test wants to know of an answer. */
import { Effect, Schema } from "effect"
import { eventually } from "./Program.ts"

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  readonly json: unknown
}

const parse = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Unknown))

/** A request and its whole answer; a failed connection is a defect. */
export const ask = (url: string, init: RequestInit = {}): Effect.Effect<Answer> =>
  Effect.promise(async (signal) => {
    const response = await fetch(url, { ...init, signal, redirect: "manual" })
    const text = await response.text()
    const parsed = parse(text)
    const json: unknown = parsed._tag === "Some" ? parsed.value : undefined
    return { status: response.status, headers: response.headers, text, json }
  })

/** Waits until a gateway says that it is ready; with 503, that it is not. */
export const untilReadyz = (gateway: string, says: 200 | 503 = 200): Effect.Effect<Answer> =>
  eventually(
    Effect.map(ask(`${gateway}/readyz`), (answer) => (answer.status === says ? answer : undefined)),
    () => `/readyz says ${says}`
  )

export const post = (url: string, body: unknown, headers: Record<string, string> = {}): Effect.Effect<Answer> =>
  ask(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body)
  })

export const chat = (
  gateway: string,
  fields: Record<string, unknown> = {},
  headers: Record<string, string> = {}
): Effect.Effect<Answer> =>
  post(
    `${gateway}/v1/chat/completions`,
    { model: "sim-model", messages: [{ role: "user", content: "Hello" }], ...fields },
    headers
  )

const ErrorBody = Schema.Struct({
  error: Schema.Struct({
    message: Schema.String,
    type: Schema.String,
    param: Schema.NullOr(Schema.String),
    code: Schema.NullOr(Schema.String)
  })
})
const decodeError = Schema.decodeUnknownSync(ErrorBody)

/** The error of an answer in OpenAI's form; an answer without one fails the test. */
export const errorOf = (answer: Answer) => decodeError(answer.json).error
