/** What must never be written anywhere: values whose key says that they are secret, and more than a line can hold. */
import { Redacted } from "effect"
import { isSecretName, scrub } from "./Credentials.ts"
import { cut, maxValueChars } from "./PlainText.ts"

/** Counts of tokens, by kind: no secrets, unless there is text behind them. */
const countsKey = /tokens$|token_seconds|tokens_total/i

/** The most that the values of one line have together, in characters before they are escaped. */
export const maxLineChars = 16_384

const maxDepth = 6
const maxMembers = 256
const maxKeyChars = 128

/** Without the credentials in it, and cut; what is far beyond `max` is not even looked at. */
export const shortened = (text: string, max: number = maxValueChars): string =>
  text.length <= max ? scrub(text) : cut(scrub(text.slice(0, 4 * max)), max, text.length)

/**
 * The same data with every value behind a telling key replaced. Long texts and lists are cut and say so; nesting deeper
 * than 6, and what comes after {@link maxLineChars} characters, is left out.
 */
export const redact = (value: unknown): unknown => walk(value, 0, { left: maxLineChars })

/** Mutable: what the line has left. */
interface Room {
  left: number
}

const walk = (value: unknown, depth: number, room: Room): unknown => {
  // Whatever is no text takes a few characters too.
  room.left -= 4
  if (typeof value !== "object" || value === null) return leaf(value, room)
  if (Redacted.isRedacted(value)) return leaf("<redacted>", room)
  if (value instanceof Error) return { error: leaf(value.name, room), message: leaf(value.message, room) }
  if (value instanceof Date || value instanceof URL) return leaf(JSON.stringify(value).slice(1, -1), room)
  if (ArrayBuffer.isView(value)) return leaf(`<${value.byteLength} bytes>`, room)
  if (depth >= maxDepth) return "…"
  if (value instanceof Map) return members(value.entries(), value.size, depth, room)
  if (Array.isArray(value) || value instanceof Set) return items(value, depth, room)
  const entries = Object.entries(value)
  return members(entries, entries.length, depth, room)
}

const leaf = (value: unknown, room: Room): unknown => {
  if (typeof value === "bigint") return leaf(value.toString(), room)
  if (typeof value !== "string") return value
  const told = shortened(value, Math.max(0, Math.min(maxValueChars, room.left)))
  room.left -= told.length
  return told
}

const items = (list: ReadonlyArray<unknown> | ReadonlySet<unknown>, depth: number, room: Room) => {
  const told: Array<unknown> = []
  const total = Array.isArray(list) ? list.length : "size" in list ? list.size : 0
  for (const item of list) {
    if (told.length >= maxMembers || room.left <= 0) {
      told.push(`… (${total - told.length} more)`)
      break
    }
    told.push(walk(item, depth + 1, room))
  }
  return told
}

const members = (entries: Iterable<[unknown, unknown]>, total: number, depth: number, room: Room) => {
  const told: Array<[string, unknown]> = []
  for (const [name, item] of entries) {
    if (told.length >= maxMembers || room.left <= 0) {
      told.push(["…", `${total - told.length} more`])
      break
    }
    const key = cut(String(name), maxKeyChars)
    room.left -= key.length
    told.push([key, isSecret(String(name), item) ? "<redacted>" : walk(item, depth + 1, room)])
  }
  return Object.fromEntries(told)
}

const isSecret = (key: string, value: unknown): boolean => {
  if (typeof value === "number" || !isSecretName(key)) return false
  return !countsKey.test(key) || typeof value !== "object" || Array.isArray(value)
}
