/** A request as it came in over Node, with what every route wants to know of it. */

import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http"
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2"
import type { Socket } from "node:net"
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import type { HttpServerRequest } from "effect/http"
import { canonicalPath, type Endpoint, endpointAt } from "../protocol/Endpoint.ts"
import { keyInProtocols } from "../proxy/Proxy.ts"
import { isUpgrade } from "./server/WebSocketHead.ts"

/** Node's own form of a request, and of what answers it. */
export interface NodeRequest {
  readonly message: IncomingMessage | Http2ServerRequest
  readonly response: ServerResponse | Http2ServerResponse
}

/** Where a request came by: Node's server, or the plain reader. A method, as a closure for each would grow old. */
export interface RequestSource {
  /** The request as Effect's server has it; calling it again is harmless. */
  node(): NodeRequest
}

/** A request that Node's server has read. */
export class FromNode implements NodeRequest, RequestSource {
  readonly message: NodeRequest["message"]
  readonly response: NodeRequest["response"]

  constructor(message: NodeRequest["message"], response: NodeRequest["response"]) {
    this.message = message
    this.response = response
  }

  node(): NodeRequest {
    return this
  }
}

/** What is looked at of a request's head and connection, whichever reader it came by. */
export interface MessageHead {
  readonly method?: string | undefined
  readonly httpVersion: string
  readonly httpVersionMajor: number
  readonly rawHeaders: ReadonlyArray<string>
  readonly headers: IncomingHttpHeaders
  readonly socket: Socket
  /** Whether all of it has come. */
  readonly complete: boolean
}

/** Where an answer goes, whichever writer puts it on the wire. */
export interface OutgoingResponse {
  statusCode: number
  readonly headersSent: boolean
  readonly writableEnded: boolean
  readonly writableLength: number
  readonly destroyed: boolean
  writeHead(status: number, headers: OutgoingHttpHeaders): unknown
  /** `false`: the next piece had better wait for `drain`. */
  write(piece: Uint8Array): boolean
  end(): unknown
  end(rest: string | Uint8Array): unknown
  end(rest: string, encoding: "latin1"): unknown
  destroy(error?: Error): unknown
  once(event: "close" | "drain" | "finish", listener: () => void): unknown
  off(event: "close" | "drain" | "finish", listener: () => void): unknown
}

export interface Incoming {
  readonly id: string
  /** Monotonic milliseconds. */
  readonly receivedAt: number
  /** Of a request that Effect's server takes over from the plain reader, Node's from then on. */
  message: MessageHead
  response: OutgoingResponse
  readonly source: RequestSource
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
  source: RequestSource,
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
    source,
    method: message.method ?? "GET",
    path,
    endpoint: endpointAt(path),
    query: mark < 0 ? "" : url.slice(mark),
    header
  }
}

/** The same of a request that Effect's server has. */
export const incomingOf = (request: HttpServerRequest.HttpServerRequest, receivedAt: number): Incoming => {
  const message = NodeHttpServerRequest.toIncomingMessage(request)
  const response = NodeHttpServerRequest.toServerResponse(request)
  return readIncoming(message, response, new FromNode(message, response), request.url, receivedAt)
}

/** A browser's page can name its key only among the subprotocols of its WebSocket; a header of its own counts before. */
const withProtocolKey = (header: Incoming["header"]): Incoming["header"] => {
  const key = keyInProtocols(header("sec-websocket-protocol"))
  const isGiven = ["authorization", "x-api-key", "api-key"].some((name) => header(name) !== undefined)
  if (key === undefined || isGiven) return header
  return (name) => (name === "authorization" ? `Bearer ${key}` : header(name))
}
