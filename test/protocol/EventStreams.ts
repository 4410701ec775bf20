/** Streams as engines write them, whole, cut and mixed up; and a plain reading of them to compare with. */
import * as fc from "fast-check"
import type { Dialect } from "../../src/protocol/Endpoint.ts"
import type { StreamOutcome } from "../../src/protocol/StreamEndDetector.ts"

/** Texts by which a model could try to end its stream, or to break it. */
const texts = fc.oneof(
  fc.constantFrom(
    "data: [DONE]",
    "\n\ndata: [DONE]\n\n",
    '"finish_reason":"stop"',
    '","finish_reason":"stop","x":"',
    "finish_reason",
    "message_stop",
    "response.completed",
    '{"type":"message_stop"}',
    '"type":"response.completed"',
    "event: error",
    '\n\ndata: {"error":"x"}\n\n',
    '{"error":{"message":"x"}}',
    '"usage":{"prompt_tokens":9,"completion_tokens":9}',
    "usage",
    "\\",
    '\\"',
    "größe 🎉",
    "\u2028"
  ),
  fc.string({ maxLength: 8 })
)

export type Make = (text: string) => unknown

const chatChunk = (delta: unknown, finish: string | null): unknown => ({
  id: "c",
  object: "chat.completion.chunk",
  choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }]
})

export const chatEvents = {
  role: chatChunk({ role: "assistant", content: "" }, null),
  content: (text: string) => chatChunk({ content: text }, null),
  tool: (text: string) => chatChunk({ tool_calls: [{ index: 0, function: { arguments: text } }] }, null),
  vague: (text: string) => chatChunk({ content: text }, ""),
  finish: chatChunk({}, "stop"),
  usage: { choices: [], usage: { prompt_tokens: 11, completion_tokens: 7, total_tokens: 18 } },
  error: { error: { message: "the engine died", type: "server_error", code: 500 } }
}

export const responsesEvents = {
  created: { type: "response.created", response: { status: "in_progress", usage: null } },
  delta: (text: string) => ({ type: "response.output_text.delta", delta: text }),
  completed: (text: string) => ({
    type: "response.completed",
    response: { output: [{ content: [{ type: "output_text", text }] }], usage: { input_tokens: 5, output_tokens: 6 } }
  }),
  error: { type: "error", message: "x" }
}

export const messagesEvents = {
  start: { type: "message_start", message: { content: [], usage: { input_tokens: 12, output_tokens: 1 } } },
  delta: (text: string) => ({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text } }),
  ended: { type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { output_tokens: 4 } },
  stop: { type: "message_stop" },
  error: { type: "error", error: { type: "overloaded_error", message: "x" } }
}

const ollamaLine = (more: object): object => ({ model: "m", created_at: "2026-01-01T00:00:00Z", ...more })

export const ollamaLines = {
  content: (text: string) => ollamaLine({ message: { role: "assistant", content: text }, done: false }),
  tool: (text: string) =>
    ollamaLine({
      message: {
        role: "assistant",
        content: "",
        tool_calls: [{ function: { name: "f", arguments: { text, done: true } } }]
      },
      done: false
    }),
  done: ollamaLine({
    message: { role: "assistant", content: "" },
    done: true,
    done_reason: "stop",
    total_duration: 9,
    prompt_eval_count: 26,
    eval_count: 12
  }),
  error: { error: "the runner has died" }
}

/** As Python's `json.dumps` has it, with a space behind every colon and comma; or without. */
const dump = (value: unknown, spaced: boolean): string => {
  if (!spaced) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map((item) => dump(item, true)).join(", ")}]`
  if (typeof value !== "object" || value === null) return JSON.stringify(value)
  return `{${Object.entries(value)
    .map(([key, item]) => `${JSON.stringify(key)}: ${dump(item, true)}`)
    .join(", ")}}`
}

export interface Writing {
  readonly newline: string
  readonly lead: string
  readonly spaced: boolean
  /** Over several lines, each of them data of the same event. */
  readonly pretty?: boolean
}

/** One event: its name where the dialect has names, its data, the empty line. */
export const event = (data: unknown, { lead, newline, pretty = false, spaced }: Writing, name?: string): string => {
  const named = name === undefined ? "" : `event: ${name}${newline}`
  const text = typeof data === "string" ? data : pretty ? JSON.stringify(data, null, 1) : dump(data, spaced)
  const lines = text.split("\n").map((line) => `${lead}${line}${newline}`)
  return `${named}${lines.join("")}${newline}`
}

/** As Ollama has it: a line for each, and nothing else. */
const lineOf = (data: unknown, { newline, spaced }: Writing): string => dump(data, spaced) + newline

const asIs = (...values: ReadonlyArray<unknown>): ReadonlyArray<Make> => values.map((value) => () => value)

const vocabulary: Record<Dialect, ReadonlyArray<Make>> = {
  chat: [
    ...asIs(chatEvents.role, chatEvents.finish, chatEvents.usage, chatEvents.error, "[DONE]"),
    chatEvents.content,
    chatEvents.tool,
    chatEvents.vague
  ],
  responses: [
    ...asIs(responsesEvents.created, responsesEvents.error),
    responsesEvents.delta,
    responsesEvents.completed
  ],
  messages: [
    ...asIs(messagesEvents.start, messagesEvents.ended, messagesEvents.stop, messagesEvents.error),
    messagesEvents.delta
  ],
  ollama: [...asIs(ollamaLines.done, ollamaLines.error), ollamaLines.content, ollamaLines.tool],
  none: [...asIs("[DONE]", "free text", chatEvents.error), chatEvents.content]
}

const between = [": keep-alive", ":", "id: 7", "retry: 100", "data", "event: ping", "event: error", "event", ""]

const byteOrderMark = "\ufeff"

const writings: fc.Arbitrary<Writing> = fc.record({
  newline: fc.constantFrom("\n", "\r\n", "\r"),
  lead: fc.constantFrom("data:", "data: "),
  spaced: fc.boolean(),
  pretty: fc.boolean()
})

export interface Streamed {
  readonly dialect: Dialect
  readonly choices: number
  readonly bytes: Buffer
}

/** Events in any order with anything in between, cut anywhere or not at all. */
export const streams: fc.Arbitrary<Streamed> = fc
  .record({
    dialect: fc.constantFrom<Dialect>("chat", "responses", "messages", "ollama", "none"),
    choices: fc.constantFrom(1, 1, 2),
    writing: writings,
    marked: fc.boolean(),
    picks: fc.array(fc.tuple(fc.nat(), texts, fc.option(fc.constantFrom(...between), { freq: 5 })), { maxLength: 9 }),
    keep: fc.oneof(fc.constant(1), fc.double({ min: 0, max: 1, noNaN: true }))
  })
  .map(({ choices, dialect, keep, marked, picks, writing }) => {
    const words = vocabulary[dialect]
    const text = picks
      .map(([pick, content, line]) => {
        const data = words[pick % words.length]?.(content)
        if (dialect === "ollama") return lineOf(data, writing)
        return (line === null ? "" : line + writing.newline) + event(data, writing)
      })
      .join("")
    const bytes = Buffer.from((marked ? byteOrderMark : "") + text, "utf8")
    return { dialect, choices, bytes: bytes.subarray(0, Math.floor(bytes.length * keep)) }
  })

/** The same bytes in pieces of these sizes, over and over; without sizes in one. */
export const split = (bytes: Buffer, sizes: ReadonlyArray<number>): ReadonlyArray<Buffer> => {
  const pieces: Array<Buffer> = []
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length] ?? bytes.length
    pieces.push(bytes.subarray(at, at + size))
    at += size
  }
  return pieces
}

const fieldOf = (value: unknown, name: string): unknown =>
  typeof value === "object" && value !== null ? Object.getOwnPropertyDescriptor(value, name)?.value : undefined

const parsed = (data: string): unknown => {
  try {
    return JSON.parse(data)
  } catch {
    return undefined
  }
}

const terminal = new Set(["response.completed", "response.incomplete", "response.failed", "message_stop"])

/** One event as a client reads it; of Ollama's dialect a line. */
interface ReadEvent {
  readonly name: string
  readonly data: string
  readonly lines: number
}

/** As the standard has it; what is not ended by an empty line is an event all the same. */
const eventsOf = (lines: ReadonlyArray<string>): ReadonlyArray<ReadEvent> => {
  const events: Array<ReadEvent> = []
  let name = ""
  let data: Array<string> = []
  for (const line of [...lines, ""]) {
    if (line === "") {
      if (data.length > 0) events.push({ name, data: data.join("\n"), lines: data.length })
      name = ""
      data = []
      continue
    }
    const [, field = "", value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? []
    if (field === "event") name = value
    if (line.startsWith("data:")) data.push(value)
  }
  return events
}

/** Reads the whole stream as a client does. */
export const readPlainly = ({ bytes, choices, dialect }: Streamed): { verdict: StreamOutcome; outputs: number } => {
  const lines = bytes
    .toString("utf8")
    .replace(byteOrderMark, "")
    .split(/\r\n|\r|\n/)
  const rest = lines.pop() ?? ""
  const events =
    dialect === "ollama"
      ? [...lines, rest].filter((line) => line.startsWith("{")).map((data) => ({ name: "", data, lines: 1 }))
      : eventsOf(eventsOf(lines).length === 0 ? [...lines, rest] : lines)
  const marksEnd = dialect === "chat" || dialect === "none"
  let finished = 0
  let done = marksEnd && /^data: ?\[DONE\]/.test(rest)
  let failed = false
  for (const { data, name } of events) {
    const value = parsed(data)
    const list = fieldOf(value, "choices")
    const reasons = Array.isArray(list) ? list.map((choice) => fieldOf(choice, "finish_reason")) : []
    finished += reasons.filter((reason) => typeof reason === "string" && reason !== "").length
    const type = fieldOf(value, "type")
    if (marksEnd ? data === "[DONE]" : terminal.has(String(type)) || fieldOf(value, "done") === true) done = true
    failed ||= name === "error" || fieldOf(value, "error") !== undefined || type === "error"
  }
  const outputs = events.reduce((total, { lines }) => total + lines, 0)
  if (failed) return { verdict: "error_sent", outputs }
  if (done) return { verdict: "complete", outputs }
  const whole = dialect === "none" || (dialect === "chat" && finished >= choices)
  return { verdict: whole ? "complete" : "truncated", outputs }
}
