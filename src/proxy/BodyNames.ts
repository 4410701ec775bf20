/** The members that routing knows of a request's body, and where they stand. Everything else is passed over. */
import { longestSpelling, textAt } from "./JsonText.ts"

/** Members of the body itself. */
export const memberNames = [
  "model",
  "name",
  "stream",
  "messages",
  "input",
  "prompt",
  "system",
  "instructions",
  "n",
  "max_tokens",
  "max_completion_tokens",
  "max_output_tokens",
  "user",
  "safety_identifier",
  "metadata",
  "tools",
  "tool_choice",
  "functions",
  "function_call",
  "reasoning_format",
  "grammar",
  "response_format",
  "json_schema",
  "chat_template_kwargs"
] as const

export type MemberName = (typeof memberNames)[number]

/** Objects and lists that are looked into; 0 is every other. */
export const places = {
  body: 1,
  messages: 2,
  message: 3,
  content: 4,
  part: 5,
  items: 6,
  item: 7,
  prompts: 8,
  metadata: 9,
  kwargs: 10
} as const

const firstInner = memberNames.length + 1

/** Fields besides the members of the body, which count from 1 in their order. */
export const fields = {
  body: firstInner,
  message: firstInner + 1,
  role: firstInner + 2,
  content: firstInner + 3,
  toolCalls: firstInner + 4,
  functionCall: firstInner + 5,
  part: firstInner + 6,
  partType: firstInner + 7,
  partText: firstInner + 8,
  item: firstInner + 9,
  itemType: firstInner + 10,
  prompt: firstInner + 11,
  userId: firstInner + 12,
  effort: firstInner + 13
} as const

const fieldsOfMembers: ReadonlyMap<MemberName, number> = new Map(memberNames.map((name, index) => [name, index + 1]))

/** The field of a member of the body. */
export const fieldOf = (name: MemberName): number => fieldsOfMembers.get(name) ?? 0

type Names = ReadonlyArray<readonly [name: string, field: number]>

/** The names of one place. Of those that are as long as another most differ in their first byte. */
interface Known {
  readonly byLength: ReadonlyArray<Names>
  readonly byName: ReadonlyMap<string, number>
  /** Bytes of the longest, spelled in the longest way. */
  readonly longest: number
}

const known = (names: Names): Known => {
  const longest = Math.max(...names.map(([name]) => name.length))
  const byLength = Array.from({ length: longest + 1 }, (_, length) => names.filter(([name]) => name.length === length))
  return { byLength, byName: new Map(names), longest: longest * longestSpelling }
}

const knownAt: ReadonlyArray<Known | undefined> = Object.values(places).map((_, index): Known | undefined => {
  switch (index + 1) {
    case places.body:
      return known(memberNames.map((name) => [name, fieldOf(name)]))
    case places.message:
      return known([
        ["role", fields.role],
        ["content", fields.content],
        ["tool_calls", fields.toolCalls],
        ["function_call", fields.functionCall]
      ])
    case places.part:
      return known([
        ["type", fields.partType],
        ["text", fields.partText]
      ])
    case places.item:
      return known([["type", fields.itemType]])
    case places.metadata:
      return known([["user_id", fields.userId]])
    case places.kwargs:
      return known([["reasoning_effort", fields.effort]])
    default:
      return undefined
  }
})

/** The field that a member's name stands for, from its opening to behind its closing quote; 0 for an unknown one. */
export const fieldNamed = (bytes: Buffer, place: number, start: number, end: number, isEscaped: boolean): number => {
  const names = knownAt[place - 1]
  if (names === undefined) return 0
  const length = end - start - 2
  if (isEscaped) return length > names.longest ? 0 : (names.byName.get(textAt(bytes, start, end, length)) ?? 0)
  const candidates = names.byLength[length]
  if (candidates === undefined) return 0
  for (const [name, field] of candidates) if (isAt(bytes, start + 1, name)) return field
  return 0
}

const isAt = (bytes: Buffer, start: number, name: string): boolean => {
  for (let i = 0; i < name.length; i++) if (bytes[start + i] !== name.charCodeAt(i)) return false
  return true
}
