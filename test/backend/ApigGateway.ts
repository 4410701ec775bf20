/**
 * What stands before a backend that wants signed requests, written after the verification sample that Huawei gives
 * with its signing SDKs, and not after our signer: it reads the header, rebuilds the request from the headers that are
 * listed there and nothing else, and compares.
 */
import { createHash, createHmac, timingSafeEqual } from "node:crypto"

/** A request as it came over the wire. */
export interface Received {
  readonly method: string
  /** Path and query. */
  readonly target: string
  /** Names and values in turn. */
  readonly headers: ReadonlyArray<string>
  readonly body: Uint8Array
}

export const published = { accessKey: "QTWAOYTTINDUT2QVKYUC", secretKey: "MFyfvK41ba2giqM7Uio6PznpdUKGpownRZlmVmHc" }

const pattern = /^SDK-HMAC-SHA256 Access=([^,]+), SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/
const quarter = 15 * 60_000

/** `undefined` where the signature is good, else why it is refused. */
export const verify = (request: Received, keys: typeof published, now: number): string | undefined => {
  const headerOf = (name: string): string | undefined => {
    const values: Array<string> = []
    for (let i = 0; i < request.headers.length; i += 2) {
      if (request.headers[i]?.toLowerCase() === name) values.push(request.headers[i + 1] ?? "")
    }
    return values.length === 0 ? undefined : values.join(", ")
  }
  const [, access, list = "", signature = ""] = pattern.exec(headerOf("authorization") ?? "") ?? []
  if (access === undefined) return "no authorization that can be read"
  if (access !== keys.accessKey) return "unknown access key"
  const names = list.split(";")
  if (!names.includes("x-sdk-date")) return "x-sdk-date is not signed"
  if (!names.includes("host")) return "host is not signed"
  const date = headerOf("x-sdk-date") ?? ""
  const [, year, month, day, hour, minute, second] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(date) ?? []
  const at = Date.UTC(Number(year), Number(month) - 1, Number(day), Number(hour), Number(minute), Number(second))
  if (!(Math.abs(now - at) <= quarter)) return "expired"
  const lines: Array<string> = []
  for (const name of names) {
    const value = headerOf(name)
    if (value === undefined) return `signed header ${name} is missing`
    lines.push(`${name}:${value.trim()}\n`)
  }
  if (list !== names.toSorted().join(";")) return "signed headers are not in order"
  const question = request.target.indexOf("?")
  const path = question < 0 ? request.target : request.target.slice(0, question)
  const query = question < 0 ? "" : request.target.slice(question + 1)
  const payload = names.includes("x-sdk-content-sha256") ? headerOf("x-sdk-content-sha256") : sha256(request.body)
  const canonical = [request.method, uri(path), search(query), lines.join(""), list, payload].join("\n")
  const toSign = `SDK-HMAC-SHA256\n${date}\n${sha256(Buffer.from(canonical))}`
  const expected = createHmac("sha256", keys.secretKey).update(toSign).digest()
  return timingSafeEqual(expected, Buffer.from(signature, "hex")) ? undefined : "signature does not match"
}

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

const unescape = (text: string): string => {
  const bytes: Array<number> = []
  for (let i = 0; i < text.length; i++) {
    const hex = text.slice(i + 1, i + 3)
    if (text[i] === "%" && /^[0-9a-fA-F]{2}$/.test(hex)) {
      bytes.push(Number.parseInt(hex, 16))
      i += 2
    } else bytes.push(...new TextEncoder().encode(text[i]))
  }
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(bytes))
}

const escape = (text: string): string =>
  Array.from(new TextEncoder().encode(text), (byte) => {
    const char = String.fromCharCode(byte)
    return /[A-Za-z0-9_.~-]/.test(char) ? char : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`
  }).join("")

const uri = (path: string): string => {
  const parts = unescape(path).split("/").map(escape).join("/")
  return parts.endsWith("/") ? parts : `${parts}/`
}

const search = (query: string): string => {
  const values = new Map<string, Array<string>>()
  for (const pair of query.split("&")) {
    if (pair === "") continue
    const equals = pair.indexOf("=")
    const name = unescape(equals < 0 ? pair : pair.slice(0, equals))
    values.set(name, [...(values.get(name) ?? []), equals < 0 ? "" : unescape(pair.slice(equals + 1))])
  }
  const byCodePoint = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b))
  return [...values.keys()]
    .toSorted(byCodePoint)
    .flatMap((name) =>
      (values.get(name) ?? []).toSorted(byCodePoint).map((value) => `${escape(name)}=${escape(value)}`)
    )
    .join("&")
}
