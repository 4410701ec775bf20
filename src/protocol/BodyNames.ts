/** The members that routing knows of a request's body, and where they stand. Everything else is passed over. */
import { maxEscapeBytes, textAt } from "./JsonText.ts"

/** The fields of the members of the body itself: below 31, as a bit each. */
export const members = {
  model: 1,
  name: 2,
  stream: 3,
  messages: 4,
  input: 5,
  prompt: 6,
  system: 7,
  instructions: 8,
  n: 9,
  max_tokens: 10,
  max_completion_tokens: 11,
  max_output_tokens: 12,
  user: 13,
  safety_identifier: 14,
  metadata: 15,
  tools: 16,
  tool_choice: 17,
  functions: 18,
  function_call: 19,
  reasoning_format: 20,
  grammar: 21,
  response_format: 22,
  json_schema: 23,
  chat_template_kwargs: 24
} as const

export type MemberName = keyof typeof members

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

/** All other fields. */
export const fields = {
  body: 32,
  message: 33,
  role: 34,
  content: 35,
  toolCalls: 36,
  functionCall: 37,
  part: 38,
  partType: 39,
  partText: 40,
  item: 41,
  itemType: 42,
  prompt: 43,
  userId: 44,
  effort: 45
} as const

type Names = ReadonlyArray<readonly [name: string, field: number]>

interface Name {
  readonly name: string
  readonly field: number
}

/** The names of one place. Of those that are as long as another most differ in their first byte. */
interface Known {
  readonly byLength: ReadonlyArray<ReadonlyArray<Name>>
  readonly byName: ReadonlyMap<string, number>
  /** Bytes of the longest, spelled in the longest way. */
  readonly longest: number
}

const known = (names: Names): Known => {
  const longest = Math.max(...names.map(([name]) => name.length))
  const byLength = Array.from({ length: longest + 1 }, (_, length) =>
    names.flatMap(([name, field]) => (name.length === length ? [{ name, field }] : []))
  )
  return { byLength, byName: new Map(names), longest: longest * maxEscapeBytes }
}

const knownAt: ReadonlyArray<Known | undefined> = Object.values(places).map((_, index): Known | undefined => {
  switch (index + 1) {
    case places.body:
      return known(Object.entries(members))
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
  if (isEscaped) {
    const isKnowable = length <= names.longest && isSpelledInAscii(bytes, start, end)
    return isKnowable ? (names.byName.get(textAt(bytes, start, end, length)) ?? 0) : 0
  }
  const candidates = names.byLength[length]
  if (candidates === undefined) return 0
  for (let i = 0; i < candidates.length; i++) {
    const candidate = candidates[i]
    if (candidate !== undefined && isAt(bytes, start + 1, candidate.name)) return candidate.field
  }
  return 0
}

/** Whether all of its escapes are `\u00`, as they are in any spelling of a known name. */
const isSpelledInAscii = (bytes: Buffer, start: number, end: number): boolean => {
  for (let at = start; at < end; at++) if (bytes[at] === 0x5c && !isAt(bytes, at + 1, "u00")) return false
  return true
}

const isAt = (bytes: Buffer, start: number, name: string): boolean => {
  for (let i = 0; i < name.length; i++) if (bytes[start + i] !== name.charCodeAt(i)) return false
  return true
}
