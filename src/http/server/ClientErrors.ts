/** What Node refuses before there is a request: answered in the same form as everything else, then closed. */
import type { EventEmitter } from "node:events"
import { ServerResponse } from "node:http"
import { Socket } from "node:net"
import type { Duplex } from "node:stream"
import { TLSSocket } from "node:tls"
import { type GatewayError, InvalidRequest, RequestTimeout } from "../../domain/Errors.ts"
import { errorResponse } from "../ErrorBody.ts"
import { headTooLarge } from "../RequestHead.ts"

/** Anything at all on the port gets a clean answer or a closed connection. */
export const answerClientErrors = (server: EventEmitter): void => {
  server.on("clientError", (error: Error & { code?: string }, socket: Duplex) => {
    if (isPlainHttp(error.code) && isInHandshake(socket)) {
      answerPlainHttp(socket)
      return
    }
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
    socket.end(written(errorFor(error.code, maxHeaderSizeOf(server))))
  })
  server.on("checkExpectation", (_request: unknown, response: ServerResponse) => {
    const { body, headers } = refusal(
      new InvalidRequest({ message: "The only expectation that is met is 100-continue." })
    )
    response.writeHead(417, headers).end(body)
  })
}

/** OpenSSL knows some methods by name; all others are a record of TLS whose version makes no sense. */
const isPlainHttp = (code = ""): boolean =>
  code === "ERR_SSL_HTTP_REQUEST" || code === "ERR_SSL_HTTPS_PROXY_REQUEST" || code === "ERR_SSL_WRONG_VERSION_NUMBER"

const isInHandshake = (socket: Duplex): socket is TLSSocket =>
  socket instanceof TLSSocket && "secureConnecting" in socket && socket.secureConnecting === true

/** Milliseconds for which a client may read an answer before its connection is gone. */
const answerMillis = 1000

/**
 * Plain HTTP on a port that speaks TLS. The TLS connection has failed by now; the one below it has not, and on that the
 * client waits for an answer.
 */
const answerPlainHttp = (failed: TLSSocket): void => {
  const below = "_parent" in failed ? failed._parent : undefined
  if (!(below instanceof Socket) || !below.writable) {
    failed.destroy()
    return
  }
  const speaksTls = "This port speaks TLS: use https:// instead of http://."
  below.on("error", () => below.destroy())
  below.end(written(new InvalidRequest({ message: speaksTls })))
  // Not at once: what the client still sends would reset the connection, and the answer with it.
  const timer = setTimeout(() => below.destroy(), answerMillis)
  below.once("close", () => clearTimeout(timer))
}

const maxHeaderSizeOf = (server: EventEmitter): number =>
  "maxHeaderSize" in server && typeof server.maxHeaderSize === "number" ? server.maxHeaderSize : 0

/** A whole answer as HTTP/1.1 writes it. */
const written = (reason: GatewayError): string => {
  const { body, headers, status } = refusal(reason)
  const lines = [
    `HTTP/1.1 ${status} ${reasons[status] ?? "Bad Request"}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
  ]
  return `${lines.join("\r\n")}\r\n\r\n${body}`
}

const isAboutHttp = (code = ""): boolean => code.startsWith("HPE_") || code.startsWith("ERR_HTTP_")

/** Whether some of an answer has been sent on a connection, and not yet its end; Node's own handler asks the same. */
const isAnswering = (socket: Duplex): boolean =>
  "_httpMessage" in socket && socket._httpMessage instanceof ServerResponse && socket._httpMessage.headersSent

const refusal = (reason: GatewayError) => {
  const { body, headers, status } = errorResponse(reason, "")
  return {
    body,
    status,
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

const errorFor = (code: string | undefined, maxHeaderBytes: number): GatewayError => {
  switch (code) {
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return new RequestTimeout({ message: "The request came too slowly." })
    case "HPE_HEADER_OVERFLOW":
      return headTooLarge(maxHeaderBytes)
    default:
      return new InvalidRequest({ message: "The request is not valid HTTP." })
  }
}
