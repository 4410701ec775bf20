/** Reading a request to an inference endpoint, and what is decided before it is looked at closely. */
import { createHash } from "node:crypto"
import { ByteSize, Effect, Option, Schema } from "effect"
import { HttpIncomingMessage, HttpServerRequest } from "effect/http"
import type { Exchange } from "./Exchange.ts"
import { field } from "./Json.ts"
import { untagged } from "./OllamaRoutes.ts"
import type { Settings } from "./Options.ts"
import { Refusal } from "./Refusal.ts"

/** A body as it came: its JSON, if it is any, and the two fields that everything else turns on. */
export interface Received {
  readonly json: Option.Option<unknown>
  readonly model: string | undefined
  readonly stream: boolean
}

const parseJson = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Unknown))

const largestBody = ByteSize.mebibytes(64)

/** Reads the body and notes in the books what the client has sent. */
export const receive = Effect.fnUntraced(function* (exchange: Exchange["Service"]) {
  const request = yield* HttpServerRequest.HttpServerRequest
  const bytes = yield* request.arrayBuffer.pipe(
    Effect.provideService(HttpIncomingMessage.MaxBodySize, largestBody),
    Effect.map((buffer) => Buffer.from(buffer)),
    Effect.mapError(
      () =>
        new Refusal({ status: 413, code: "request_too_large", message: "the body could not be read, or is too large" })
    )
  )
  const json = parseJson(bytes.toString())
  const value = Option.getOrUndefined(json)
  const model = field(value, "model")
  const { record } = exchange.entry
  record.body = { bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") }
  record.model = typeof model === "string" ? model : undefined
  record.stream = field(value, "stream") === true
  const received: Received = { json, model: record.model, stream: record.stream }
  return received
})

/** The JSON, or the answer to what is none. */
export const jsonOf = ({ json }: Received): Effect.Effect<unknown, Refusal> =>
  Effect.fromOption(
    json,
    () => new Refusal({ status: 400, code: "invalid_json", message: "the body is not valid JSON" })
  )

/** Fails for a model that is not served. */
export const checkModel = (settings: Settings, model: string): Effect.Effect<void, Refusal> =>
  settings.models.includes(model) ||
  (settings.engine === "ollama" && settings.models.some((one) => untagged(one) === model))
    ? Effect.void
    : Effect.fail(
        new Refusal({
          status: 404,
          code: "model_not_found",
          message: `The model \`${model}\` does not exist.`,
          param: "model"
        })
      )

/** Fails for a prompt that leaves no room for an answer. */
export const checkContext = (settings: Settings, promptTokens: number): Effect.Effect<void, Refusal> =>
  promptTokens < settings.contextTokens
    ? Effect.void
    : Effect.fail(
        new Refusal({
          status: 400,
          code: "context_length_exceeded",
          message: `This model's maximum context length is ${settings.contextTokens} tokens, but the prompt has ${promptTokens}.`,
          param: "messages"
        })
      )
