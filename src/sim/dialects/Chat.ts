/** OpenAI's Chat Completions. */
import { Effect, Schema } from "effect"
import { field, textOr } from "../Json.ts"
import { type Choice, chooseTool, type Tool } from "../ToolCalls.ts"
import {
  Amount,
  Choices,
  Content,
  contentText,
  type Dialect,
  dataEvent,
  doneEvent,
  maybe,
  openAiUsage,
  type Reply,
  reading,
  type Usage,
  unknownTool
} from "./Dialect.ts"

const Message = Schema.Struct({ role: Schema.String, content: maybe(Content) })

const FunctionTool = Schema.Struct({
  type: Schema.Literal("function"),
  function: Schema.Struct({ name: Schema.String, parameters: Schema.optionalKey(Schema.Unknown) })
})

const Body = Schema.Struct({
  model: Schema.String,
  messages: Schema.NonEmptyArray(Message),
  stream: maybe(Schema.Boolean),
  stream_options: maybe(Schema.Struct({ include_usage: maybe(Schema.Boolean) })),
  max_tokens: Amount,
  max_completion_tokens: Amount,
  n: Choices,
  tools: maybe(Schema.Array(FunctionTool)),
  tool_choice: maybe(Schema.Unknown)
})
type Body = typeof Body.Type

const decode = reading(Schema.decodeUnknownEffect(Body))

const read = Effect.fnUntraced(function* (input: unknown) {
  const body = yield* decode(input)
  const tools = (body.tools ?? []).map((tool): Tool => ({ parameters: undefined, ...tool.function }))
  const lastUser = body.messages.findLast(({ role }) => role === "user")
  const tool = chooseTool(tools, choiceOf(body.tool_choice), contentText(lastUser?.content))
  if (tool === "unknown tool") return yield* unknownTool
  return {
    model: body.model,
    stream: body.stream === true,
    includeUsage: body.stream_options?.include_usage === true,
    prompt: render(body),
    maxTokens: body.max_completion_tokens ?? body.max_tokens ?? undefined,
    choices: body.n ?? 1,
    tool
  }
})

const render = (body: Body): string => {
  const turns = body.messages.map(({ content, role }) => `<|${role}|>${contentText(content)}\n`)
  const tools = body.tools === undefined || body.tools === null ? "" : `${JSON.stringify(body.tools)}\n`
  return `${body.model}\n${tools}${turns.join("")}<|assistant|>`
}

const choiceOf = (given: unknown): Choice => {
  if (given === "none") return "none"
  if (given === "required") return "any"
  const name = textOr(field(field(given, "function"), "name"), "")
  return name === "" ? "auto" : { must: name }
}

const callId = (reply: Reply): string => `call_${reply.id.slice(reply.id.indexOf("-") + 1)}`

const whole = (reply: Reply, usage: Usage) => ({
  id: reply.id,
  object: "chat.completion",
  created: reply.created,
  model: reply.model,
  system_fingerprint: reply.fingerprint,
  choices: reply.choices.map((tokens, index) => ({
    index,
    message:
      reply.tool === undefined
        ? { role: "assistant", content: tokens.join(""), refusal: null }
        : {
            role: "assistant",
            content: null,
            refusal: null,
            tool_calls: [{ id: callId(reply), type: "function", function: reply.tool }]
          },
    logprobs: null,
    finish_reason: reply.finish
  })),
  usage: openAiUsage(usage)
})

const events = (reply: Reply, usage: Usage) => {
  const chunk = (choices: ReadonlyArray<unknown>, told: unknown = null) =>
    dataEvent({
      id: reply.id,
      object: "chat.completion.chunk",
      created: reply.created,
      model: reply.model,
      system_fingerprint: reply.fingerprint,
      choices,
      ...(reply.includeUsage && { usage: told })
    })
  const forEachChoice = (delta: (index: number) => unknown, finish: string | null) =>
    reply.choices.map((_, index) => chunk([{ index, delta: delta(index), logprobs: null, finish_reason: finish }]))
  const { tool } = reply
  const opening =
    tool === undefined
      ? { role: "assistant", content: "" }
      : {
          role: "assistant",
          content: null,
          tool_calls: [{ index: 0, id: callId(reply), type: "function", function: { name: tool.name, arguments: "" } }]
        }
  const tokenDelta = (text: string) =>
    tool === undefined ? { content: text } : { tool_calls: [{ index: 0, function: { arguments: text } }] }
  return {
    open: forEachChoice(() => opening, null),
    token: (at: number) => forEachChoice((index) => tokenDelta(reply.choices[index]?.[at] ?? ""), null),
    finish: [
      ...forEachChoice(() => ({}), reply.finish),
      ...(reply.includeUsage ? [chunk([], openAiUsage(usage))] : [])
    ],
    done: [doneEvent]
  }
}

export const chat: Dialect = { path: "/v1/chat/completions", idPrefix: "chatcmpl-", read, whole, events }
