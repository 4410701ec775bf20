/**
 * Heads that are valid HTTP and still must not be believed: what we would read in one way and a backend in another.
 * Whoever could make the two disagree would reach what the listener, the key or the model rules keep from them.
 */
import { InvalidRequest } from "../domain/Errors.ts"
import { endpointRoutes } from "../proxy/Proxy.ts"
import type { Incoming } from "./Incoming.ts"

/**
 * Why a request cannot be served, whatever it asks for; `undefined` where nothing is wrong with its head. Nothing more is
 * read from a connection that brought such a one: whoever stands in front may see another end of it than we do.
 */
export const refuseHead = ({ header, message, path, response }: Incoming): InvalidRequest | undefined => {
  const problem =
    hostProblem(message.httpVersion, message.rawHeaders) ??
    codingProblem(message.httpVersion, header("transfer-encoding")) ??
    pathProblem(path)
  if (problem === undefined) return undefined
  if ("shouldKeepAlive" in response) response.shouldKeepAlive = false
  return new InvalidRequest({ message: problem })
}

/** RFC 9112, 3.2: exactly one, since two could be believed by different parties. */
const hostProblem = (version: string, raw: ReadonlyArray<string>): string | undefined => {
  let hosts = 0
  for (let i = 0; i < raw.length; i += 2) if (raw[i]?.length === 4 && raw[i]?.toLowerCase() === "host") hosts++
  if (hosts > 1) return "The request has more than one Host header."
  return hosts === 0 && version === "1.1" ? "The request has no Host header." : undefined
}

/** Nothing but `chunked` is taken off a body, so that nothing else can be passed on as if it had been. */
const codingProblem = (version: string, coding: string | undefined): string | undefined => {
  if (coding === undefined) return undefined
  if (version === "1.0") return "A request of HTTP/1.0 cannot have a Transfer-Encoding."
  return coding.toLowerCase() === "chunked" ? undefined : "The only Transfer-Encoding that is understood is chunked."
}

/** A path in which nothing of this occurs is what it looks like. */
const remarkable = /^(?!\/)|[%\\#;A-Z]|\/\.|\/\/|.\/$/

/**
 * A path must not mean another one to a backend: no `..` that leaves the backend's prefix, however it is written, and
 * no second spelling of a path that is routed by model. Everything else is left as it is.
 */
export const pathProblem = (path: string): string | undefined => {
  if (!remarkable.test(path)) return undefined
  if (!path.startsWith("/")) return "The request's target must be a path."
  if (path.includes("#")) return "The request's target must not have a fragment."
  if (/%(?![0-9a-f]{2})/i.test(path)) return "The path is not valid percent-encoding."
  if (/%(?:[01][0-9a-f]|7f)/i.test(path)) return "The path has control characters in it."
  for (const read of loosely) {
    const segments = read(path.toLowerCase()).split(/[/\\]/)
    if (segments.some((segment) => segment === "." || segment === "..")) return "The path must not have dot segments."
    const meant = `/${segments.filter((segment) => segment !== "").join("/")}`
    if (meant !== path && endpointRoutes.has(meant)) return `This path must be written as ${meant}.`
  }
  return undefined
}

const decoded = (path: string): string =>
  path.replace(/%([0-7][0-9a-f])/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))

const withoutParameters = (path: string): string => path.replace(/;[^/\\]*/g, "")

/** What the servers that forgive most take off a path; some do the one first, some the other. */
const loosely: ReadonlyArray<(path: string) => string> = [
  (path) => withoutParameters(decoded(path)),
  (path) => decoded(withoutParameters(path)),
  (path) => withoutParameters(decoded(path.replace(/;[^/]*/g, "")))
]
