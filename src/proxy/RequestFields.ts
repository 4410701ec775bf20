/** The members of a request's body, read with care: a client can put anything anywhere. */
export type Fields = Readonly<Record<string, unknown>>

export const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value)

export const listOf = (value: unknown): ReadonlyArray<unknown> => (Array.isArray(value) ? value : [])

export const isFilled = (value: unknown): boolean => Array.isArray(value) && value.length > 0

/** What the system says, in every dialect, a text for each message. */
export const systemTexts = ({ instructions, messages, system }: Fields): ReadonlyArray<string> => [
  ...textsOf(system),
  ...textsOf(instructions),
  ...listOf(messages).flatMap((message) =>
    isFields(message) && (message["role"] === "system" || message["role"] === "developer")
      ? textsOf(message["content"])
      : []
  )
]

/** A text, or the `text` parts of a list, a line each. */
const textsOf = (content: unknown): ReadonlyArray<string> => {
  if (typeof content === "string") return [content]
  const parts = listOf(content).flatMap((part) =>
    isFields(part) && typeof part["text"] === "string" ? [part["text"]] : []
  )
  return parts.length === 0 ? [] : [parts.join("\n")]
}
