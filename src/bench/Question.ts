/** What the harness asks, and of which endpoint. */
import { Redacted, Schema } from "effect"
import { HttpClientRequest } from "effect/http"

/** An OpenAI-compatible endpoint. */
export interface Target {
  /** With or without `/v1` at its end. */
  readonly url: URL
  readonly model: string
  readonly apiKey?: Redacted.Redacted | undefined
}

export interface Shape {
  /** Roughly: a sentence of ten tokens is repeated. */
  readonly promptTokens: number
  readonly maxTokens: number
  /** Whether answers are streamed, which is what makes the time to the first token visible. */
  readonly stream: boolean
}

/** Where a benchmark can be pointed at; credentials in a URL would end up in its output. */
export const TargetUrl = Schema.URLFromString.pipe(
  Schema.check(
    Schema.makeFilter((url) =>
      url.protocol !== "http:" && url.protocol !== "https:"
        ? "expected a URL that begins with http:// or https://"
        : url.username !== "" || url.password !== ""
          ? "a URL with credentials in it is not taken; use --api-key"
          : true
    )
  )
)

const sentence = "Explain in plain words what a load balancer does today. "
const tokensOfSentence = 10

const promptOf = (tokens: number): string => sentence.repeat(Math.max(Math.floor(tokens / tokensOfSentence), 1)).trim()

const endpoint = ({ url }: Target, path: string): string => {
  const base = url.href.replace(/[?#].*$/, "").replace(/\/+$/, "")
  return `${base.replace(/\/v1$/, "")}/v1${path}`
}

const authorized = (request: HttpClientRequest.HttpClientRequest, { apiKey }: Target) =>
  apiKey === undefined ? request : HttpClientRequest.bearerToken(request, Redacted.value(apiKey))

/** A chat completion; with a stream comes the usage, so that tokens are the engine's own count. */
export const question = (target: Target, { maxTokens, promptTokens, stream }: Shape) =>
  authorized(HttpClientRequest.post(endpoint(target, "/chat/completions")), target).pipe(
    HttpClientRequest.bodyJsonUnsafe({
      model: target.model,
      messages: [{ role: "user", content: promptOf(promptTokens) }],
      max_tokens: maxTokens,
      ...(stream && { stream, stream_options: { include_usage: true } })
    })
  )

/** Something cheap, to learn whether anything is there. */
export const knock = (target: Target) => authorized(HttpClientRequest.get(endpoint(target, "/models")), target)
