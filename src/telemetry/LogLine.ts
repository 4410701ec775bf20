/** The forms of a line: one JSON object, or one line for a person to read. Neither has a character that acts. */

import { escapeActing } from "./PlainText.ts"
import { shortened } from "./Redaction.ts"

/** Of one event; the fields are redacted and shortened, the message is not. */
export type LineForm = (at: number, level: string, message: string, fields: object) => string

const own = ["timestamp", "level", "message"]

export const jsonLine: LineForm = (at, level, message, fields) => {
  // No field takes the place of the line's own.
  const others = own.some((name) => name in fields)
    ? Object.fromEntries(Object.entries(fields).filter(([name]) => !own.includes(name)))
    : fields
  const rest = JSON.stringify(others)
  const head = `{"timestamp":"${new Date(at).toISOString()}","level":"${level}","message":${JSON.stringify(shortened(message))}`
  return `${escapeActing(rest === "{}" ? `${head}}` : `${head},${rest.slice(1)}`)}\n`
}

export const prettyLine: LineForm = (at, level, message, fields) => {
  const pairs = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}=${typeof value === "string" && isWord.test(value) ? value : JSON.stringify(value)}`)
  const time = new Date(at).toISOString().slice(11, 23)
  return `${escapeActing(`${time} ${level.toUpperCase().padEnd(5)} ${shortened(message)}${pairs.join("")}`)}\n`
}

/** What needs no quotes: a value with a blank in it could pass for two. */
const isWord = /^[^\s"]*$/
