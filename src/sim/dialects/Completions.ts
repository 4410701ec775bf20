/** OpenAI's older Completions. */
import { Effect, Schema } from "effect"
import {
  Amount,
  Choices,
  type Dialect,
  dataEvent,
  doneEvent,
  maybe,
  openAiUsage,
  type Reply,
  reading,
  type Usage
} from "./Dialect.ts"

const Prompts = Schema.Union([
  Schema.String,
  Schema.Array(Schema.String),
  Schema.Array(Schema.Finite),
  Schema.Array(Schema.Array(Schema.Finite))
])

const Body = Schema.Struct({
  model: Schema.String,
  prompt: Prompts,
  stream: maybe(Schema.Boolean),
  stream_options: maybe(Schema.Struct({ include_usage: maybe(Schema.Boolean) })),
  max_tokens: Amount,
  n: Choices
})

const decode = reading(Schema.decodeUnknownEffect(Body))

const read = Effect.fnUntraced(function* (input: unknown) {
  const body = yield* decode(input)
  const prompts = promptTexts(body.prompt)
  return {
    model: body.model,
    stream: body.stream === true,
    includeUsage: body.stream_options?.include_usage === true,
    prompt: `${body.model}\n${prompts.join("\n")}`,
    maxTokens: body.max_tokens ?? undefined,
    choices: Math.max(1, prompts.length) * (body.n ?? 1),
    tool: undefined
  }
})

/** Numbers are tokens, of which only the count matters here: four characters each. */
const promptTexts = (given: typeof Prompts.Type): ReadonlyArray<string> => {
  if (typeof given === "string") return [given]
  const single = given.flatMap((item) => (typeof item === "number" ? [item] : []))
  if (single.length > 0) return [single.map(tokenText).join("")]
  return given.map((item) =>
    typeof item === "string" ? item : Array.isArray(item) ? item.map(tokenText).join("") : ""
  )
}

const tokenText = (token: unknown): string => String(token).padStart(4, "0").slice(-4)

const whole = (reply: Reply, usage: Usage) => ({
  id: reply.id,
  object: "text_completion",
  created: reply.created,
  model: reply.model,
  system_fingerprint: reply.fingerprint,
  choices: reply.choices.map((tokens, index) => ({
    index,
    text: tokens.join(""),
    logprobs: null,
    finish_reason: reply.finish
  })),
  usage: openAiUsage(usage)
})

const events = (reply: Reply, usage: Usage) => {
  const chunk = (choices: ReadonlyArray<unknown>, told: unknown = null) =>
    dataEvent({
      id: reply.id,
      object: "text_completion",
      created: reply.created,
      model: reply.model,
      system_fingerprint: reply.fingerprint,
      choices,
      ...(reply.includeUsage && { usage: told })
    })
  const forEachChoice = (text: (index: number) => string, finish: string | null) =>
    reply.choices.map((_, index) => chunk([{ index, text: text(index), logprobs: null, finish_reason: finish }]))
  return {
    open: [],
    token: (at: number) => forEachChoice((index) => reply.choices[index]?.[at] ?? "", null),
    finish: [...forEachChoice(() => "", reply.finish), ...(reply.includeUsage ? [chunk([], openAiUsage(usage))] : [])],
    done: [doneEvent]
  }
}

export const completions: Dialect = { path: "/v1/completions", idPrefix: "cmpl-", read, whole, events }
