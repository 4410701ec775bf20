/**
 * Which headers travel. Hop-by-hop ones (RFC 9110, 7.6.1) end here in both directions, with everything that
 * `Connection` names; so do the client's credentials on the way up, and the upstream's `server` on the way down.
 */
import type { UpstreamHeaders } from "../domain/UpstreamHeaders.ts"
import { withoutKeys } from "./KeyProtocol.ts"

const hopByHop = [
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "trailers",
  "transfer-encoding",
  "upgrade",
  "http2-settings"
]

const notUpward = new Set([
  ...hopByHop,
  // Made anew for the connection to the backend.
  "host",
  "content-length",
  "expect",
  // The client's credentials are for Weir.
  "authorization",
  "x-api-key",
  "api-key",
  // Ours to say.
  "x-request-id",
  "x-weir-timeout"
])

const notDownward = new Set([
  ...hopByHop,
  "server",
  "x-request-id",
  "x-routed-node",
  "x-weir-attempts",
  "x-weir-sticky"
])

/** Pairs of names and values that go to a backend. `readable`: an answer that is compressed could not be judged. */
export const toUpstream = (
  raw: ReadonlyArray<string>,
  options: { readonly readable: boolean; readonly requestId: string; readonly userAgent: string | undefined }
): Array<string> => {
  const headers: Array<string> = []
  const named = namedByConnection(raw)
  // HTTP/2 names the request line among the headers, before all others.
  const isHttp2 = raw[0]?.startsWith(":") === true
  let cookieAt = -1
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const original = raw[i] ?? ""
    const name = original.toLowerCase()
    if (name.startsWith(":") || notUpward.has(name) || named?.has(name) === true) continue
    if (name === "accept-encoding" && options.readable) continue
    if (name === "user-agent" && options.userAgent !== undefined) continue
    const given = raw[i + 1] ?? ""
    const value = name === "sec-websocket-protocol" ? withoutKeys(given) : given
    if (value === "" && given !== "") continue
    if (isHttp2 && name === "cookie") {
      // It may split a cookie into several fields, of which HTTP/1.1 has one (RFC 9113, 8.2.3).
      if (cookieAt >= 0) {
        headers[cookieAt] += `; ${value}`
        continue
      }
      cookieAt = headers.length + 1
    }
    headers.push(original, value)
  }
  headers.push("x-request-id", options.requestId)
  if (options.userAgent !== undefined) headers.push("user-agent", options.userAgent)
  return headers
}

/** The same headers with another `traceparent`; the rest of the trace's context travels on as it came. */
export const withTraceparent = (headers: ReadonlyArray<string>, traceparent: string): ReadonlyArray<string> => {
  const others: Array<string> = []
  for (let i = 0; i + 1 < headers.length; i += 2) {
    if (headers[i]?.toLowerCase() !== "traceparent") others.push(headers[i] ?? "", headers[i + 1] ?? "")
  }
  others.push("traceparent", traceparent)
  return others
}

const namedByConnection = (raw: ReadonlyArray<string>): Set<string> | undefined => {
  let named: Set<string> | undefined
  for (let i = 0; i + 1 < raw.length; i += 2) {
    if (raw[i]?.length !== 10 || raw[i]?.toLowerCase() !== "connection") continue
    const value = raw[i + 1] ?? ""
    if (value === "keep-alive" || value === "close") continue
    named ??= new Set()
    for (const name of value.split(",")) named.add(name.trim().toLowerCase())
  }
  return named
}

/** What goes down to the client. */
export interface DownwardHeaders {
  /** Names in lower case; repeated headers joined, as RFC 9110 5.3 allows. */
  readonly headers: Record<string, string>
  /** The one header that must not be joined. */
  readonly cookies: ReadonlyArray<string>
}

/** The length is left out: it is made from what is really sent. */
export const toClient = (upstream: UpstreamHeaders): DownwardHeaders => {
  const headers: Record<string, string> = {}
  let cookies: ReadonlyArray<string> = []
  const connection = upstream["connection"]
  const named =
    connection === undefined || connection === "keep-alive" || connection === "close"
      ? undefined
      : namedByConnection(["connection", String(connection)])
  for (const name of Object.keys(upstream)) {
    const value = upstream[name]
    if (value === undefined || notDownward.has(name) || named?.has(name) === true || name === "content-length") continue
    if (name === "set-cookie") cookies = typeof value === "string" ? [value] : value
    else headers[name] = typeof value === "string" ? value : value.join(", ")
  }
  return { headers, cookies }
}
