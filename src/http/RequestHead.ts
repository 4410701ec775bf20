/**
 * Heads that are valid HTTP and still must not be believed: what we would read in one way and a backend in another.
 * A client that could make the two disagree would reach what the listener, the key or the model rules keep from them.
 */

import { type GatewayError, HeadTooLarge, InvalidRequest } from "../domain/Errors.ts"
import { readingsOf } from "../domain/PathSpelling.ts"
import { canonicalPath, deploymentIn, endpointAt } from "../protocol/Endpoint.ts"
import type { Incoming } from "./Incoming.ts"
import { isUpgrade, refuseWebSocket } from "./server/WebSocketHead.ts"

/**
 * Why a request cannot be served, whatever it asks for; `undefined` where nothing is wrong with its head. Nothing more is
 * read from a connection that brought such a one: a proxy in front may see another end of it than we do.
 */
export const refuseHead = ({ header, message, path, response }: Incoming): GatewayError | undefined => {
  const problem =
    hostProblem(message.httpVersion, message.rawHeaders) ??
    codingProblem(message.httpVersion, header("transfer-encoding")) ??
    pathProblem(path)
  const refused = problem === undefined ? refuseWebSocket(message) : new InvalidRequest({ message: problem })
  const isLast = refused !== undefined || isUpgrade(message)
  if (isLast && "shouldKeepAlive" in response) response.shouldKeepAlive = false
  return refused
}

/**
 * The bound on a head that Node itself holds over HTTP/1.1 alone. Over HTTP/2 the fields count as HTTP/1.1 would write
 * them, however well they were compressed.
 */
export const refuseLargeHead = ({ message }: Incoming, limit: number): HeadTooLarge | undefined => {
  if (message.httpVersionMajor !== 2) return undefined
  const raw = message.rawHeaders
  // A colon, a blank and a line's end for each field.
  let size = raw.length * 2
  for (const text of raw) size += text.length
  return size > limit ? headTooLarge(limit) : undefined
}

export const headTooLarge = (limit: number): HeadTooLarge =>
  new HeadTooLarge({ message: `The request's head is larger than ${limit} bytes (limits.maxHeaderBytes).` })

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

/** What a server may cut off a deployment's name, or take for another separator. */
const doubtfulDeployment = /^\/openai\/deployments\/[^/]*(?:;|\\|%3b|%5c)/i

/**
 * A path must not mean another one to a backend: no `..` that leaves the backend's prefix, however it is written, and
 * no second spelling of an endpoint. Everything else is left as it is.
 */
export const pathProblem = (path: string): string | undefined => {
  if (!remarkable.test(path)) return undefined
  if (!path.startsWith("/")) return "The request's target must be a path."
  if (path.includes("#")) return "The request's target must not have a fragment."
  if (/%(?![0-9a-f]{2})/i.test(path)) return "The path is not valid percent-encoding."
  if (/%(?:[01][0-9a-f]|7f)/i.test(path)) return "The path has control characters in it."
  if (doubtfulDeployment.test(path)) return "The name of a deployment must not have a semicolon or a backslash in it."
  for (const segments of readingsOf(path)) {
    if (segments.some((segment) => segment === "." || segment === "..")) return "The path must not have dot segments."
    const meant = canonicalPath(`/${segments.filter((segment) => segment !== "").join("/")}`)
    if (meant !== path && isSecondSpelling(path, meant)) return `This path must be written as ${meant}.`
  }
  return undefined
}

/** Whether an endpoint is meant that the path as it stands is not known as. */
const isSecondSpelling = (path: string, meant: string): boolean => {
  const endpoint = endpointAt(meant)
  if (endpoint !== undefined) return endpoint !== endpointAt(path)
  return deploymentIn(meant) !== undefined && deploymentIn(path) === undefined
}
