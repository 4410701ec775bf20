/** Anthropic's Messages. */
import { Effect, Schema } from "effect"
import { field, textOr } from "../Json.ts"
import { type Choice, chooseTool, type Tool } from "../ToolCalls.ts"
import {
  Amount,
  Content,
  contentText,
  type Dialect,
  maybe,
  namedEvent,
  type Reply,
  reading,
  type Usage,
  unknownTool
} from "./Dialect.ts"

const Body = Schema.Struct({
  model: Schema.String,
  messages: Schema.NonEmptyArray(Schema.Struct({ role: Schema.String, content: Content })),
  system: maybe(Content),
  max_tokens: Amount,
  stream: maybe(Schema.Boolean),
  tools: maybe(Schema.Array(Schema.Struct({ name: Schema.String, input_schema: Schema.optionalKey(Schema.Unknown) }))),
  tool_choice: maybe(Schema.Unknown)
})

const decode = reading(Schema.decodeUnknownEffect(Body))

const read = Effect.fnUntraced(function* (input: unknown) {
  const body = yield* decode(input)
  const tools = (body.tools ?? []).map((tool): Tool => ({ name: tool.name, parameters: tool.input_schema }))
  const lastUser = body.messages.findLast(({ role }) => role === "user")
  const tool = chooseTool(tools, choiceOf(body.tool_choice), contentText(lastUser?.content))
  if (tool === "unknown tool") return yield* unknownTool
  const turns = body.messages.map(({ content, role }) => `<|${role}|>${contentText(content)}\n`)
  return {
    model: body.model,
    stream: body.stream === true,
    includeUsage: true,
    prompt: `${body.model}\n${contentText(body.system)}\n${turns.join("")}<|assistant|>`,
    maxTokens: body.max_tokens ?? undefined,
    choices: 1,
    tool
  }
})

const choiceOf = (given: unknown): Choice => {
  const type = field(given, "type")
  if (type === "none" || type === "any") return type
  const name = textOr(field(given, "name"), "")
  return type === "tool" && name !== "" ? { must: name } : "auto"
}

const stopReasons = { stop: "end_turn", length: "max_tokens", tool_calls: "tool_use" } as const

/** Anthropic counts what was read from the cache apart from the rest of the input. */
const inputUsage = ({ cached, prompt }: Usage) => ({
  input_tokens: prompt - cached,
  cache_creation_input_tokens: 0,
  cache_read_input_tokens: cached
})

const message = (reply: Reply, content: ReadonlyArray<unknown>, stopReason: string | null, usage: unknown) => ({
  id: reply.id,
  type: "message",
  role: "assistant",
  model: reply.model,
  content,
  stop_reason: stopReason,
  stop_sequence: null,
  usage
})

const toolUse = (reply: Reply, name: string, input: unknown) => ({
  type: "tool_use",
  id: `toolu_${reply.id.slice(reply.id.indexOf("_") + 1)}`,
  name,
  input
})

const whole = (reply: Reply, usage: Usage) => {
  const block =
    reply.tool === undefined
      ? { type: "text", text: reply.choices[0]?.join("") ?? "" }
      : toolUse(reply, reply.tool.name, JSON.parse(reply.tool.arguments))
  const counted = { ...inputUsage(usage), output_tokens: usage.completion }
  return message(reply, [block], stopReasons[reply.finish], counted)
}

const events = (reply: Reply, usage: Usage) => {
  const { tool } = reply
  const begun = message(reply, [], null, { ...inputUsage(usage), output_tokens: 1 })
  const block = tool === undefined ? { type: "text", text: "" } : toolUse(reply, tool.name, {})
  const delta = (text: string) =>
    tool === undefined ? { type: "text_delta", text } : { type: "input_json_delta", partial_json: text }
  const stop = { stop_reason: stopReasons[reply.finish], stop_sequence: null }
  return {
    open: [
      namedEvent("message_start", { message: begun }),
      namedEvent("content_block_start", { index: 0, content_block: block })
    ],
    token: (at: number) => [
      namedEvent("content_block_delta", { index: 0, delta: delta(reply.choices[0]?.[at] ?? "") })
    ],
    finish: [
      namedEvent("content_block_stop", { index: 0 }),
      namedEvent("message_delta", { delta: stop, usage: { output_tokens: usage.completion } })
    ],
    done: [namedEvent("message_stop", {})]
  }
}

export const messages: Dialect = { path: "/v1/messages", idPrefix: "msg_", read, whole, events }
