/** A request as it came in over Node, with what every route wants to know of it. */

import type { IncomingMessage, ServerResponse } from "node:http"
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2"
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import type { HttpServerRequest } from "effect/http"
import { canonicalPath, type Endpoint, endpointAt } from "../protocol/Endpoint.ts"
import { keyInProtocols } from "../proxy/Proxy.ts"
import { isUpgrade } from "./server/WebSocketHead.ts"

export interface Incoming {
  readonly id: string
  /** Monotonic milliseconds. */
  readonly receivedAt: number
  readonly message: IncomingMessage | Http2ServerRequest
  readonly response: ServerResponse | Http2ServerResponse
  readonly method: string
  /** Canonical: what Azure calls `/openai/v1` is `/v1`. */
  readonly path: string
  /** What is at the path, whatever the method. */
  readonly endpoint: Endpoint | undefined
  /** With its question mark, or empty. */
  readonly query: string
  readonly header: (name: string) => string | undefined
}

const requestId = /^[A-Za-z0-9._-]{1,128}$/

/** `url`: the target, in the form of a path. */
export const readIncoming = (
  message: Incoming["message"],
  response: Incoming["response"],
  url: string,
  receivedAt: number
): Incoming => {
  const mark = url.indexOf("?")
  const path = canonicalPath(mark < 0 ? url : url.slice(0, mark))
  const plain = (name: string) => {
    const value = message.headers[name]
    return typeof value === "string" ? value : value?.join(", ")
  }
  const header = isUpgrade(message) ? withProtocolKey(plain) : plain
  const given = header("x-request-id")
  return {
    id: given !== undefined && requestId.test(given) ? given : crypto.randomUUID(),
    receivedAt,
    message,
    response,
    method: message.method ?? "GET",
    path,
    endpoint: endpointAt(path),
    query: mark < 0 ? "" : url.slice(mark),
    header
  }
}

/** The same of a request that Effect's server has. */
export const incomingOf = (request: HttpServerRequest.HttpServerRequest, receivedAt: number): Incoming =>
  readIncoming(
    NodeHttpServerRequest.toIncomingMessage(request),
    NodeHttpServerRequest.toServerResponse(request),
    request.url,
    receivedAt
  )

/** A browser's page can name its key only among the subprotocols of its WebSocket; a header of its own counts before. */
const withProtocolKey = (header: Incoming["header"]): Incoming["header"] => {
  const key = keyInProtocols(header("sec-websocket-protocol"))
  const isGiven = ["authorization", "x-api-key", "api-key"].some((name) => header(name) !== undefined)
  if (key === undefined || isGiven) return header
  return (name) => (name === "authorization" ? `Bearer ${key}` : header(name))
}
