/** OpenAI's Responses, text only. */
import { Effect, Schema } from "effect"
import {
  Amount,
  Content,
  contentText,
  type Dialect,
  maybe,
  namedEvent,
  type Reply,
  reading,
  type Usage
} from "./Dialect.ts"

const Item = Schema.Struct({ role: Schema.optionalKey(Schema.String), content: maybe(Content) })

const Body = Schema.Struct({
  model: Schema.String,
  input: Schema.Union([Schema.String, Schema.Array(Item)]),
  instructions: maybe(Schema.String),
  stream: maybe(Schema.Boolean),
  max_output_tokens: Amount
})

const decode = reading(Schema.decodeUnknownEffect(Body))

const read = Effect.fnUntraced(function* (input: unknown) {
  const body = yield* decode(input)
  const turns =
    typeof body.input === "string"
      ? `<|user|>${body.input}\n`
      : body.input.map(({ content, role }) => `<|${role ?? "user"}|>${contentText(content)}\n`).join("")
  return {
    model: body.model,
    stream: body.stream === true,
    includeUsage: true,
    prompt: `${body.model}\n${body.instructions ?? ""}${turns}<|assistant|>`,
    maxTokens: body.max_output_tokens ?? undefined,
    choices: 1,
    tool: undefined
  }
})

const itemId = (reply: Reply): string => `msg_${reply.id.slice(reply.id.indexOf("_") + 1)}`

const textPart = (text: string) => ({ type: "output_text", text, annotations: [] })

const messageItem = (reply: Reply, status: string, content: ReadonlyArray<unknown>) => ({
  id: itemId(reply),
  type: "message",
  role: "assistant",
  status,
  content
})

const endStatus = (reply: Reply): string => (reply.finish === "length" ? "incomplete" : "completed")

const response = (reply: Reply, status: string, output: ReadonlyArray<unknown>, usage: unknown) => ({
  id: reply.id,
  object: "response",
  created_at: reply.created,
  status,
  error: null,
  incomplete_details: status === "incomplete" ? { reason: "max_output_tokens" } : null,
  instructions: null,
  metadata: {},
  model: reply.model,
  output,
  parallel_tool_calls: true,
  temperature: 1,
  tool_choice: "auto",
  tools: [],
  top_p: 1,
  usage
})

const responseUsage = ({ cached, completion, prompt }: Usage) => ({
  input_tokens: prompt,
  input_tokens_details: { cached_tokens: cached },
  output_tokens: completion,
  output_tokens_details: { reasoning_tokens: 0 },
  total_tokens: prompt + completion
})

const finished = (reply: Reply, usage: Usage) => {
  const text = reply.choices[0]?.join("") ?? ""
  const item = messageItem(reply, endStatus(reply), [textPart(text)])
  return response(reply, endStatus(reply), [item], responseUsage(usage))
}

/** Each event with its place in the stream. */
const numbered = (from: number, list: ReadonlyArray<readonly [type: string, fields: object]>) =>
  list.map(([type, fields], index) => namedEvent(type, { sequence_number: from + index, ...fields }))

const events = (reply: Reply, usage: Usage) => {
  const tokens = reply.choices[0] ?? []
  const text = tokens.join("")
  const begun = response(reply, "in_progress", [], null)
  const place = { item_id: itemId(reply), output_index: 0, content_index: 0 }
  const item = messageItem(reply, endStatus(reply), [textPart(text)])
  const open = numbered(0, [
    ["response.created", { response: begun }],
    ["response.in_progress", { response: begun }],
    ["response.output_item.added", { output_index: 0, item: messageItem(reply, "in_progress", []) }],
    ["response.content_part.added", { ...place, part: textPart("") }]
  ])
  const end = open.length + tokens.length
  const finish = numbered(end, [
    ["response.output_text.done", { ...place, text }],
    ["response.content_part.done", { ...place, part: textPart(text) }],
    ["response.output_item.done", { output_index: 0, item }]
  ])
  return {
    open,
    token: (at: number) =>
      numbered(open.length + at, [["response.output_text.delta", { ...place, delta: tokens[at] ?? "" }]]),
    finish,
    done: numbered(end + finish.length, [[`response.${endStatus(reply)}`, { response: finished(reply, usage) }]])
  }
}

export const responses: Dialect = { path: "/v1/responses", idPrefix: "resp_", read, whole: finished, events }
