/**
 * The plainest form of a request's head over HTTP/1.1, which is what nearly all clients of a gateway send. This is no
 * parser of HTTP: what is not of this form, or might be read in two ways, is not read here at all. Node's parser gets it.
 */
import type { IncomingHttpHeaders } from "node:http"

export interface PlainHead {
  readonly url: string
  /** Names and values in turn, as they came. */
  readonly rawHeaders: ReadonlyArray<string>
  /** Names in lower case. */
  readonly headers: IncomingHttpHeaders
  /** Bytes of the head, with the blank line behind it. */
  readonly size: number
  /** Bytes of the body behind it. */
  readonly length: number
}

/** RFC 9112, 3.2.1: a path of visible characters, none of which a URL forbids; RFC 9110, 9: a POST has a body. */
const requestLine = /^POST (\/[\x21\x24-\x3b\x3d\x3f-\x5b\x5d\x5f\x61-\x7a\x7e]*) HTTP\/1\.1$/

/** RFC 9110, 5.6.2; without the characters that no name of a header has in practice. */
const token = /^[\w-]{1,64}$/

/** RFC 9110, 5.5. */
const forbiddenInValue = /[^\t\x20-\x7e\x80-\xff]/

const decimal = /^\d{1,8}$/

/** What says how the connection or the body goes on in another way than the plainest, or what Node makes a list of. */
const unusual = new Set([
  "expect",
  "set-cookie",
  "trailer",
  "transfer-encoding",
  "te",
  "upgrade",
  "http2-settings",
  "proxy-connection",
  "__proto__"
])

/** `undefined`: it is for Node's parser, be it wrong, unusual, or not there as a whole. */
export const readPlainHead = (bytes: Buffer, maxSize: number): PlainHead | undefined => {
  const end = bytes.indexOf("\r\n\r\n", 0, "latin1")
  if (end < 0 || end + 4 > maxSize) return undefined
  const text = bytes.toString("latin1", 0, end)
  let at = text.indexOf("\r\n")
  const url = at < 0 ? undefined : requestLine.exec(text.slice(0, at))?.[1]
  if (url === undefined) return undefined
  const rawHeaders: Array<string> = []
  const headers: IncomingHttpHeaders = {}
  while (at >= 0) {
    const from = at + 2
    at = text.indexOf("\r\n", from)
    const to = at < 0 ? text.length : at
    const colon = text.indexOf(":", from)
    if (colon < 0 || colon >= to) return undefined
    const name = text.slice(from, colon)
    const value = trimmed(text, colon + 1, to)
    if (!token.test(name) || forbiddenInValue.test(value)) return undefined
    const lower = name.toLowerCase()
    if (headers[lower] !== undefined || unusual.has(lower)) return undefined
    headers[lower] = value
    rawHeaders.push(name, value)
  }
  const { connection, host } = headers
  if (host === undefined || host === "") return undefined
  if (connection !== undefined && connection.toLowerCase() !== "keep-alive") return undefined
  const length = headers["content-length"]
  if (length === undefined || !decimal.test(length)) return undefined
  return { url, rawHeaders, headers, size: end + 4, length: Number(length) }
}

/** Blanks around a value are none of it. */
const trimmed = (text: string, start: number, end: number): string => {
  let from = start
  let to = end
  while (from < to && isBlank(text.charCodeAt(from))) from++
  while (to > from && isBlank(text.charCodeAt(to - 1))) to--
  return text.slice(from, to)
}

const isBlank = (code: number): boolean => code === 0x20 || code === 0x09
