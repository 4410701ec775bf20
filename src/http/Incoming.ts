/** A request as it came in over Node, with what every route wants to know of it. */

import type { IncomingMessage, ServerResponse } from "node:http"
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2"
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import type { HttpServerRequest } from "effect/http"

export interface Incoming {
  readonly id: string
  /** Monotonic milliseconds. */
  readonly receivedAt: number
  readonly request: HttpServerRequest.HttpServerRequest
  readonly message: IncomingMessage | Http2ServerRequest
  readonly response: ServerResponse | Http2ServerResponse
  readonly method: string
  readonly path: string
  /** With its question mark, or empty. */
  readonly query: string
  readonly header: (name: string) => string | undefined
}

const requestId = /^[A-Za-z0-9._-]{1,128}$/

export const readIncoming = (request: HttpServerRequest.HttpServerRequest, receivedAt: number): Incoming => {
  const message = NodeHttpServerRequest.toIncomingMessage(request)
  const response = NodeHttpServerRequest.toServerResponse(request)
  const { url } = request
  const mark = url.indexOf("?")
  const header = (name: string) => {
    const value = message.headers[name]
    return typeof value === "string" ? value : value?.join(", ")
  }
  const given = header("x-request-id")
  return {
    id: given !== undefined && requestId.test(given) ? given : crypto.randomUUID(),
    receivedAt,
    request,
    message,
    response,
    method: message.method ?? "GET",
    path: mark < 0 ? url : url.slice(0, mark),
    query: mark < 0 ? "" : url.slice(mark),
    header
  }
}
