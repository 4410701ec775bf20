/** The endpoints that compute rather than write: embeddings, rerank and score. */
import { Clock, Effect, Schema } from "effect"
import { HttpServerResponse } from "effect/http"
import { sendWhole } from "./BodyFaults.ts"
import { maybe, reading, SmallAmount } from "./dialects/Dialect.ts"
import type { Exchange } from "./Exchange.ts"
import type { RequestFault } from "./Faults.ts"
import { attended } from "./InferenceRoute.ts"
import type { Instance } from "./Instance.ts"
import { fingerprintText, makeRandom } from "./Random.ts"
import { checkContext, checkModel, jsonOf } from "./RequestBody.ts"
import { pauseOf } from "./Script.ts"
import { promptOf } from "./Tokens.ts"

const oneOrMany = <S extends Schema.Constraint>(schema: S) => Schema.Union([schema, Schema.Array(schema)])

const EmbeddingsBody = Schema.Struct({
  model: Schema.String,
  input: Schema.Union([oneOrMany(Schema.String), oneOrMany(Schema.Array(Schema.Finite))]),
  encoding_format: maybe(Schema.Literals(["float", "base64"])),
  dimensions: SmallAmount
})

const Document = Schema.Union([Schema.String, Schema.Struct({ text: Schema.String })])

const RerankBody = Schema.Struct({
  model: Schema.String,
  query: Schema.String,
  documents: Schema.Array(Document),
  top_n: SmallAmount,
  return_documents: maybe(Schema.Boolean)
})

const ScoreBody = Schema.Struct({
  model: Schema.String,
  text_1: oneOrMany(Schema.String),
  text_2: oneOrMany(Schema.String)
})

const readEmbeddings = reading(Schema.decodeUnknownEffect(EmbeddingsBody))
const readRerank = reading(Schema.decodeUnknownEffect(RerankBody))
const readScore = reading(Schema.decodeUnknownEffect(ScoreBody))

export const vectorRoutes = (instance: Instance) => [
  attended(
    instance,
    "/v1/embeddings",
    Effect.fnUntraced(function* (received, fault, exchange) {
      const body = yield* Effect.flatMap(jsonOf(received), readEmbeddings)
      const inputs = embeddingInputs(body.input)
      return yield* compute(instance, exchange, fault, body.model, inputs, (tokens) => ({
        object: "list",
        data: inputs.map((input, index) => {
          const vector = embed(instance.settings.seed, `${body.model}\n${input}`, body.dimensions ?? 64)
          return {
            object: "embedding",
            index,
            embedding: body.encoding_format === "base64" ? base64(vector) : [...vector]
          }
        }),
        model: body.model,
        usage: { prompt_tokens: tokens, total_tokens: tokens }
      }))
    })
  ),
  attended(
    instance,
    "/v1/rerank",
    Effect.fnUntraced(function* (received, fault, exchange) {
      const body = yield* Effect.flatMap(jsonOf(received), readRerank)
      const documents = body.documents.map((item) => (typeof item === "string" ? item : item.text))
      const id = `rerank-${instance.settings.name}-${instance.nextId()}`
      return yield* compute(instance, exchange, fault, body.model, [body.query, ...documents], (tokens) => ({
        id,
        model: body.model,
        usage: { total_tokens: tokens },
        results: documents
          .map((text, index) => ({
            index,
            ...(body.return_documents !== false && { document: { text } }),
            relevance_score: relevance(instance.settings.seed, body.query, text)
          }))
          .toSorted((one, other) => other.relevance_score - one.relevance_score)
          .slice(0, body.top_n ?? documents.length)
      }))
    })
  ),
  attended(
    instance,
    "/v1/score",
    Effect.fnUntraced(function* (received, fault, exchange) {
      const body = yield* Effect.flatMap(jsonOf(received), readScore)
      const pairs = pairsOf(listOf(body.text_1), listOf(body.text_2))
      const now = yield* Clock.currentTimeMillis
      const id = `score-${instance.settings.name}-${instance.nextId()}`
      return yield* compute(instance, exchange, fault, body.model, pairs.flat(), (tokens) => ({
        id,
        object: "list",
        created: Math.floor(now / 1000),
        model: body.model,
        data: pairs.map(([one, other], index) => ({
          index,
          object: "score",
          score: relevance(instance.settings.seed, one, other)
        })),
        usage: { prompt_tokens: tokens, total_tokens: tokens, completion_tokens: 0 }
      }))
    })
  )
]

/** Takes a slot for the time of the prefill, then answers. */
const compute = Effect.fnUntraced(function* (
  instance: Instance,
  exchange: Exchange["Service"],
  fault: RequestFault | undefined,
  model: string,
  texts: ReadonlyArray<string>,
  answer: (tokens: number) => unknown
) {
  yield* checkModel(instance.settings, model)
  const prompt = promptOf(`${model}\n${texts.join("\n")}`)
  yield* checkContext(instance.settings, prompt.tokens)
  const pause = pauseOf(fault, 0, false)
  const generation = yield* instance.engine.submit({ prompt, outputTokens: 0, reason: "stop", pause })
  yield* generation.finished
  return sendWhole(instance, exchange, HttpServerResponse.jsonUnsafe(answer(prompt.tokens)), fault, 1)
})

const listOf = (given: string | ReadonlyArray<string>): ReadonlyArray<string> =>
  typeof given === "string" ? [given] : given

const embeddingInputs = (given: (typeof EmbeddingsBody.Type)["input"]): ReadonlyArray<string> => {
  if (typeof given === "string") return [given]
  if (given.some((item) => typeof item === "number")) return [given.join(" ")]
  return given.map((item) => (Array.isArray(item) ? item.join(" ") : String(item)))
}

/** One text against many, or each against its counterpart. */
const pairsOf = (
  first: ReadonlyArray<string>,
  second: ReadonlyArray<string>
): ReadonlyArray<readonly [string, string]> =>
  second.map((text, index) => [(first.length === 1 ? first[0] : first[index]) ?? "", text])

/** A unit vector that depends on the text alone. */
const embed = (seed: number, text: string, dimensions: number): Float32Array => {
  const random = makeRandom(fingerprintText(text, seed))
  const raw = Array.from({ length: dimensions }, () => random() * 2 - 1)
  const norm = Math.hypot(...raw)
  return Float32Array.from(raw, (value) => value / norm)
}

const base64 = (vector: Float32Array): string => Buffer.from(vector.buffer).toString("base64")

/** Shared words make two texts relevant to each other; a little chance breaks ties. Between 0 and 1. */
const relevance = (seed: number, one: string, other: string): number => {
  const left = wordsOf(one)
  const right = wordsOf(other)
  const common = [...left].filter((word) => right.has(word)).length
  const shared = common / Math.max(1, left.size + right.size - common)
  const random = makeRandom(fingerprintText(`${one}\n${other}`, seed))
  return Number((0.9 * shared + 0.1 * random()).toFixed(6))
}

const wordsOf = (text: string): ReadonlySet<string> => new Set(text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [])
