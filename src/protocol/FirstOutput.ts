/** Which events open a stream and say nothing yet: until one does, another backend can still be asked. */
import type { Dialect } from "./Endpoint.ts"
import { type Fields, isFields } from "./JsonFields.ts"

/** Of Anthropic's and of OpenAI's dialects with named events. */
const preambles = new Set([
  "ping",
  "message_start",
  "response.created",
  "response.queued",
  "response.in_progress",
  "response.output_item.added",
  "response.content_part.added"
])

/** Whether an event is output: more than a role, an empty text or the news that something begins. `value`: its data, parsed. */
export const isOutput = (dialect: Dialect, value: unknown): boolean => {
  if (!isFields(value)) return true
  switch (dialect) {
    case "chat":
      return !Array.isArray(value["choices"]) || value["choices"].some(choiceSays)
    case "messages":
    case "responses":
      return typeof value["type"] !== "string" || !(preambles.has(value["type"]) || startsEmpty(value))
    case "ollama":
      return (
        value["done"] === true || says(value["response"]) || says(value["thinking"]) || hasContent(value["message"])
      )
    case "none":
      return true
  }
}

const choiceSays = (choice: unknown): boolean => {
  if (!isFields(choice)) return true
  const { delta, finish_reason: reason, text } = choice
  return says(reason) || says(text) || hasContent(delta)
}

/** Whether a message has anything besides its role. */
const hasContent = (message: unknown): boolean =>
  isFields(message) && Object.entries(message).some(([name, value]) => name !== "role" && says(value))

/** Anthropic's news of a block of text that is still empty; a tool that is called has a name. */
const startsEmpty = ({ content_block: block, type }: Fields): boolean =>
  type === "content_block_start" &&
  isFields(block) &&
  !Object.entries(block).some(([name, value]) => name !== "type" && says(value))

const says = (value: unknown): boolean =>
  value !== undefined && value !== null && value !== "" && !(Array.isArray(value) && value.length === 0)
