/** Where a member of a JSON object stands, without building the object. */

export interface Located {
  /** First byte of the value; -1 where there is no such member. The last one counts, as it does for `JSON.parse`. */
  readonly start: number
  /** First byte behind the value. */
  readonly end: number
  readonly repeated: boolean
}

const quote = 0x22
const backslash = 0x5c
const colon = 0x3a
const comma = 0x2c
const openBrace = 0x7b
const closeBrace = 0x7d
const openBracket = 0x5b
const closeBracket = 0x5d

/** Finds a member of the outermost object. `body` must be valid JSON with an object as its root. */
export const topLevelMember = (body: Uint8Array, name: string): Located => {
  let start = -1
  let end = -1
  let count = 0
  let at = body.indexOf(openBrace) + 1
  for (;;) {
    const keyStart = skipTo(body, at, quote)
    if (keyStart < 0) return { start, end, repeated: count > 1 }
    const keyEnd = endOfString(body, keyStart)
    const valueStart = skipSpace(body, body.indexOf(colon, keyEnd) + 1)
    const valueEnd = endOfValue(body, valueStart)
    if (keyOf(body, keyStart, keyEnd) === name) {
      start = valueStart
      end = valueEnd
      count++
    }
    at = valueEnd
  }
}

/** The next quote before the object closes; -1 at its end. */
const skipTo = (body: Uint8Array, from: number, wanted: number): number => {
  for (let at = from; at < body.length; at++) {
    if (body[at] === wanted) return at
    if (body[at] === closeBrace) return -1
  }
  return -1
}

const isSpace = (byte: number | undefined): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09

const skipSpace = (body: Uint8Array, from: number): number => {
  let at = from
  while (isSpace(body[at])) at++
  return at
}

/** The byte behind the closing quote of the string that begins at `from`. */
const endOfString = (body: Uint8Array, from: number): number => {
  let at = from + 1
  while (at < body.length && body[at] !== quote) at += body[at] === backslash ? 2 : 1
  return at + 1
}

/** The byte behind the value that begins at `from`: its brackets are counted, its strings jumped over. */
const endOfValue = (body: Uint8Array, from: number): number => {
  let depth = 0
  let at = from
  while (at < body.length) {
    const byte = body[at]
    if (byte === quote) {
      at = endOfString(body, at)
      if (depth === 0) return at
      continue
    }
    if (byte === openBrace || byte === openBracket) depth++
    else if (byte === closeBrace || byte === closeBracket) {
      if (depth === 0) return at
      depth--
      if (depth === 0) return at + 1
    } else if (depth === 0 && (byte === comma || isSpace(byte))) return at
    at++
  }
  return at
}

const keyOf = (body: Uint8Array, start: number, end: number): unknown =>
  JSON.parse(Buffer.from(body.subarray(start, end)).toString("utf8"))
