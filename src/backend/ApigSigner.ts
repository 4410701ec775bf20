/**
 * Huawei Cloud API Gateway request signing (SDK-HMAC-SHA256), as its signing guide has it. The gateway refuses what was
 * signed more than 15 minutes ago, so every attempt is signed anew.
 */
import { createHash, createHmac } from "node:crypto"
import type { Pieces } from "../domain/Bytes.ts"
import { hashOf } from "./BodyHash.ts"

export interface SigningRequest {
  readonly method: string
  /** Path and query as they go on the wire. */
  readonly path: string
  /** What is signed besides `x-sdk-date`: names in any case with their values; `host` must be among them. */
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>
  /** `undefined`: a body that is not at hand; then `x-sdk-content-sha256: UNSIGNED-PAYLOAD` must be among the headers. */
  readonly body: Uint8Array | Pieces | undefined
  /** Of the body, where it was made before; else it is made here. */
  readonly bodyHash?: string | undefined
  /** `YYYYMMDDTHHMMSSZ`. */
  readonly date: string
}

const algorithm = "SDK-HMAC-SHA256"

/** The value of the `Authorization` header. */
export const sign = (request: SigningRequest, accessKey: string, secretKey: string): string => {
  const headers = canonicalHeaders(request)
  const canonical = canonicalRequest(request, headers)
  const toSign = `${algorithm}\n${request.date}\n${sha256(canonical)}`
  const signature = createHmac("sha256", secretKey).update(toSign).digest("hex")
  const names = headers.map(([name]) => name).join(";")
  return `${algorithm} Access=${accessKey}, SignedHeaders=${names}, Signature=${signature}`
}

/** Monotonic time will not do here: the other side compares with the calendar. */
export const signingDate = (epochMillis: number): string =>
  new Date(epochMillis).toISOString().replace(/[-:]/g, "").replace(/\.\d+/, "")

type Headers = ReadonlyArray<readonly [string, string]>

/** The six parts that are hashed: method, path, query, headers, their names, the hash of the body. */
export const canonicalRequest = (request: SigningRequest, headers = canonicalHeaders(request)): string => {
  const [path, query] = splitOnce(request.path, "?")
  const declared = headers.find(([name]) => name === "x-sdk-content-sha256")?.[1]
  return [
    request.method.toUpperCase(),
    canonicalPath(path),
    canonicalQuery(query),
    headers.map(([name, value]) => `${name}:${value}\n`).join(""),
    headers.map(([name]) => name).join(";"),
    declared ?? request.bodyHash ?? hashOf(request.body)
  ].join("\n")
}

const canonicalHeaders = ({ date, headers }: SigningRequest): Headers =>
  [
    ...headers.map(([name, value]) => [name.toLowerCase(), value.trim()] as const),
    ["x-sdk-date", date] as const
  ].toSorted(([a], [b]) => compare(a, b))

/**
 * Decoded as a whole before it is split, so that a `%2F` counts as a slash. Always ends in a slash, for signing only:
 * the request goes out with its own path.
 */
const canonicalPath = (path: string): string => {
  const encoded = decode(path).split("/").map(encode).join("/")
  return encoded.endsWith("/") ? encoded : `${encoded}/`
}

const canonicalQuery = (query: string): string =>
  query
    .split("&")
    .filter((pair) => pair !== "")
    .map((pair) => {
      const [name, value] = splitOnce(pair, "=")
      return [decode(name), decode(value)] as const
    })
    .toSorted(([a, x], [b, y]) => compare(a, b) || compare(x, y))
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .join("&")

const splitOnce = (text: string, separator: string): readonly [string, string] => {
  const at = text.indexOf(separator)
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)]
}

/** By code point, as the other side sorts; JavaScript's own order is by UTF-16 unit. */
const compare = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b))

/** Only unreserved characters stay as they are. */
const encode = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)

/** What is not valid percent-encoding stands for itself. */
const decode = (text: string): string =>
  text.replace(/(%[0-9A-Fa-f]{2})+/g, (encoded) => {
    const bytes = Buffer.from(encoded.replaceAll("%", ""), "hex")
    return bytes.toString("utf8")
  })

const sha256 = (data: string): string => createHash("sha256").update(data).digest("hex")
