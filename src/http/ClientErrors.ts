/** What Node refuses before there is a request: answered in the same form as everything else, then closed. */
import type { EventEmitter } from "node:events"
import { ServerResponse } from "node:http"
import type { Duplex } from "node:stream"
import { type GatewayError, InvalidRequest, RequestTimeout, RequestTooLarge } from "../domain/Errors.ts"
import { errorResponse } from "./ErrorBody.ts"

/** Anything at all on the port gets a clean answer or a closed connection. */
export const answerClientErrors = (server: EventEmitter): void => {
  server.on("clientError", (error: Error & { code?: string }, socket: Duplex) => {
    // Only what is about HTTP can be answered in HTTP: on a broken connection, or one that is not yet TLS, it would stay.
    if (!socket.writable || !isAboutHttp(error.code)) {
      socket.destroy()
      return
    }
    if (isAnswering(socket)) {
      // Another answer in the middle of that one, or behind it, would be taken for a part of it.
      socket.end(() => socket.destroy())
      return
    }
    const { body, headers, status } = refusal(errorFor(error.code))
    const lines = [
      `HTTP/1.1 ${status} ${reasons[status] ?? "Bad Request"}`,
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
    ]
    socket.end(`${lines.join("\r\n")}\r\n\r\n${body}`)
  })
  server.on("checkExpectation", (_request: unknown, response: ServerResponse) => {
    const { body, headers } = refusal(
      new InvalidRequest({ message: "The only expectation that is met is 100-continue." })
    )
    response.writeHead(417, headers).end(body)
  })
  // With nobody to listen, an upgrade that a client offers is not taken, and its request is one like all others.
  server.on("newListener", (event: string, listener: () => void) => {
    if (event === "upgrade") queueMicrotask(() => server.off("upgrade", listener))
  })
}

const isAboutHttp = (code = ""): boolean => code.startsWith("HPE_") || code.startsWith("ERR_HTTP_")

/** Whether some of an answer has been sent on a connection, and not yet its end; Node's own handler asks the same. */
const isAnswering = (socket: Duplex): boolean =>
  "_httpMessage" in socket && socket._httpMessage instanceof ServerResponse && socket._httpMessage.headersSent

const refusal = (reason: GatewayError) => {
  const { body, headers, status } = errorResponse(reason, "")
  return {
    body,
    // HTTP has a status of its own for a head that is too large.
    status: reason instanceof RequestTooLarge ? 431 : status,
    headers: {
      ...headers,
      "x-request-id": crypto.randomUUID(),
      "content-length": String(Buffer.byteLength(body)),
      connection: "close"
    }
  }
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
