/** `/tokenize` and `/detokenize`, in the words of vLLM and of llama.cpp. They need no engine. */
import { Effect, Schema } from "effect"
import { HttpServerResponse } from "effect/http"
import { sendWhole } from "./BodyFaults.ts"
import { Content, contentText, maybe, reading } from "./dialects/Dialect.ts"
import { attended } from "./InferenceRoute.ts"
import type { Instance } from "./Instance.ts"
import { checkModel, jsonOf } from "./RequestBody.ts"
import { detokenize, tokenize } from "./Tokens.ts"

const TokenizeBody = Schema.Struct({
  model: maybe(Schema.String),
  prompt: maybe(Schema.String),
  content: maybe(Schema.String),
  messages: maybe(Schema.Array(Schema.Struct({ role: Schema.String, content: maybe(Content) })))
}).pipe(
  Schema.check(
    Schema.makeFilter((body) =>
      (body.prompt ?? body.content ?? body.messages ?? undefined) === undefined
        ? "expected a prompt, content or messages"
        : undefined
    )
  )
)

const DetokenizeBody = Schema.Struct({ model: maybe(Schema.String), tokens: Schema.Array(Schema.Finite) })

const readTokenize = reading(Schema.decodeUnknownEffect(TokenizeBody))
const readDetokenize = reading(Schema.decodeUnknownEffect(DetokenizeBody))

/** Each under its own name and under `/v1`. */
export const tokenRoutes = (instance: Instance) => {
  const named = (model: string | null | undefined) =>
    model === undefined || model === null ? Effect.void : checkModel(instance.settings, model)
  return [
    ...(["/tokenize", "/v1/tokenize"] as const).map((path) =>
      attended(
        instance,
        path,
        Effect.fnUntraced(function* (received, fault, exchange) {
          const body = yield* Effect.flatMap(jsonOf(received), readTokenize)
          yield* named(body.model)
          const tokens = tokenize(textOf(body))
          const answer = { count: tokens.length, max_model_len: instance.settings.contextTokens, tokens }
          return sendWhole(instance, exchange, HttpServerResponse.jsonUnsafe(answer), fault, 1)
        })
      )
    ),
    ...(["/detokenize", "/v1/detokenize"] as const).map((path) =>
      attended(
        instance,
        path,
        Effect.fnUntraced(function* (received, fault, exchange) {
          const body = yield* Effect.flatMap(jsonOf(received), readDetokenize)
          yield* named(body.model)
          const text = detokenize(body.tokens)
          return sendWhole(instance, exchange, HttpServerResponse.jsonUnsafe({ prompt: text, content: text }), fault, 1)
        })
      )
    )
  ]
}

const textOf = (body: typeof TokenizeBody.Type): string =>
  body.prompt ??
  body.content ??
  (body.messages ?? []).map(({ content, role }) => `<|${role}|>${contentText(content)}\n`).join("")
