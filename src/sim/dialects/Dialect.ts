/** What the APIs for generating text have in common, and what each says in its own words. */
import { Effect, Schema, SchemaIssue } from "effect"
import type { FinishReason } from "../Engine.ts"
import { field, textOr } from "../Json.ts"
import { Refusal } from "../Refusal.ts"
import type { ToolCall } from "../ToolCalls.ts"

/** What a request asks for, whatever API it came through. */
export interface Work {
  readonly model: string
  readonly stream: boolean
  /** Whether the stream tells the usage too. */
  readonly includeUsage: boolean
  /** The prompt as the model would read it: what the prefix cache works on. */
  readonly prompt: string
  readonly maxTokens: number | undefined
  readonly choices: number
  readonly tool: ToolCall | undefined
}

/** What the model says. All of it is known before the first token is due. */
export interface Reply {
  readonly id: string
  /** Seconds since 1970. */
  readonly created: number
  readonly model: string
  readonly fingerprint: string
  /** For each choice its tokens: of text, or of the arguments where a tool is called. */
  readonly choices: ReadonlyArray<ReadonlyArray<string>>
  readonly tool: ToolCall | undefined
  readonly finish: FinishReason
  readonly includeUsage: boolean
}

/** In tokens; `cached` is the part of `prompt` that was remembered. */
export interface Usage {
  readonly prompt: number
  readonly cached: number
  readonly completion: number
}

/** A stream in the order of the wire, each text one Server-Sent Event. */
export interface Events {
  readonly open: ReadonlyArray<string>
  /** The events of one token, counted from 0; one for each choice. */
  readonly token: (index: number) => ReadonlyArray<string>
  /** Why it ends, and the usage. */
  readonly finish: ReadonlyArray<string>
  /** The mark that the stream is complete. */
  readonly done: ReadonlyArray<string>
}

export interface Dialect {
  readonly path: `/${string}`
  /** What answers' ids begin with. */
  readonly idPrefix: string
  readonly read: (body: unknown) => Effect.Effect<Work, Refusal>
  readonly whole: (reply: Reply, usage: Usage) => unknown
  readonly events: (reply: Reply, usage: Usage) => Events
}

/** An event without a name, as OpenAI's streams have them. */
export const dataEvent = (data: unknown): string => `data: ${JSON.stringify(data)}\n\n`

/** An event that is named after its data's `type`. */
export const namedEvent = (type: string, fields: object): string =>
  `event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`

export const doneEvent = "data: [DONE]\n\n"

/** A key that may be absent or null. */
export const maybe = <S extends Schema.Constraint>(schema: S) => Schema.optionalKey(Schema.NullOr(schema))

const wholeUpTo = (maximum: number) =>
  maybe(
    Schema.Int.pipe(
      Schema.check(
        Schema.isBetween({ minimum: 1, maximum }, { message: `expected a whole number from 1 to ${maximum}` })
      )
    )
  )

/** A number of tokens. */
export const Amount = wholeUpTo(1_000_000_000)

/** A number of things that are all computed: choices, dimensions, documents. */
export const SmallAmount = wholeUpTo(16_384)

/** How many choices a request may ask for. */
export const Choices = wholeUpTo(128)

/** Text, or parts of which some have text. */
export const Content = Schema.Union([Schema.String, Schema.Array(Schema.Unknown)])
type Content = typeof Content.Type

export const contentText = (content: Content | null | undefined): string => {
  if (content === undefined || content === null) return ""
  if (typeof content === "string") return content
  return content.map((part) => textOr(field(part, "text"), JSON.stringify(part))).join("\n")
}

const format = SchemaIssue.makeFormatterStandardSchemaV1()

/** Turns what a schema says about a body into the answer that names the first field at fault. */
export const reading =
  <A, E extends { readonly issue: SchemaIssue.Issue }>(decode: (body: unknown) => Effect.Effect<A, E>) =>
  (body: unknown): Effect.Effect<A, Refusal> =>
    Effect.mapError(decode(body), ({ issue }) => {
      const [first] = format(issue).issues
      const param = (first?.path ?? []).map((key) => String(typeof key === "object" ? key.key : key)).join(".")
      const message = `${param === "" ? "body" : param}: ${first?.message ?? "invalid"}`
      return new Refusal({ status: 400, code: "invalid_request", message, ...(param !== "" && { param }) })
    })

/** The usage in the words of OpenAI's older APIs. */
export const openAiUsage = ({ cached, completion, prompt }: Usage) => ({
  prompt_tokens: prompt,
  completion_tokens: completion,
  total_tokens: prompt + completion,
  prompt_tokens_details: { cached_tokens: cached }
})

export const unknownTool = new Refusal({
  status: 400,
  code: "invalid_request",
  message: "tool_choice: names a tool that is not among tools",
  param: "tool_choice"
})
