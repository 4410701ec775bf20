/** What Node refuses before there is a request: answered in the same form as everything else, then closed. */
import type { EventEmitter } from "node:events"
import type { Duplex } from "node:stream"
import { type GatewayError, InvalidRequest, RequestTimeout, RequestTooLarge } from "../domain/Errors.ts"
import { errorResponse } from "./ErrorBody.ts"

/** Anything at all on the port gets a clean answer or a closed connection. */
export const answerClientErrors = (server: EventEmitter): void => {
  server.on("clientError", (error: Error & { code?: string }, socket: Duplex) => {
    if (!socket.writable || error.code === "ECONNRESET") {
      socket.destroy()
      return
    }
    const reason = errorFor(error.code)
    const { body, headers } = errorResponse(reason, "")
    // HTTP has a status of its own for a head that is too large.
    const status = reason instanceof RequestTooLarge ? 431 : reason.status
    const lines = [
      `HTTP/1.1 ${status} ${reasons[status] ?? "Bad Request"}`,
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
      `x-request-id: ${crypto.randomUUID()}`,
      `content-length: ${Buffer.byteLength(body)}`,
      "connection: close"
    ]
    socket.end(`${lines.join("\r\n")}\r\n\r\n${body}`)
  })
}

const reasons: Record<number, string> = {
  400: "Bad Request",
  408: "Request Timeout",
  431: "Request Header Fields Too Large"
}

const errorFor = (code: string | undefined): GatewayError => {
  switch (code) {
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return new RequestTimeout({ message: "The request came too slowly." })
    case "HPE_HEADER_OVERFLOW":
      return new RequestTooLarge({ message: "The request's head is larger than the limit." })
    default:
      return new InvalidRequest({ message: "The request is not valid HTTP." })
  }
}
