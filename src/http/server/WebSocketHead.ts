/**
 * Heads that ask for a WebSocket (RFC 6455, 4.2.1): which of them are taken, and what is wrong with the others. What asks
 * for a WebSocket is never passed on as a plain request.
 */
import type { IncomingMessage } from "node:http"
import { type GatewayError, InvalidRequest, MethodNotAllowed, UpgradeRequired } from "../../domain/Errors.ts"
import type { MessageHead } from "../Incoming.ts"

type Message = MessageHead

/** Whether the connection is no longer Node's: what is said on it from now on is not HTTP. */
export const isUpgrade = (message: Message): boolean => "upgrade" in message && message.upgrade === true

/** Whether Node is to hand over the connection; other protocols than WebSocket stay requests like all others. */
export const mayUpgrade = (message: IncomingMessage): boolean =>
  asksForWebSocket(message) && problemOf(message) === undefined && !isAnswering(message)

/** Why a request that asks for a WebSocket was not handed over; `undefined` for every other request. */
export const refuseWebSocket = (message: Message): GatewayError | undefined => {
  if (!asksForWebSocket(message) || isUpgrade(message)) return undefined
  return problemOf(message) ?? invalid(notHandedOver)
}

const asksForWebSocket = ({ headers }: Message): boolean =>
  headers["sec-websocket-key"] !== undefined ||
  (headers.upgrade !== undefined && /(?:^|,)\s*websocket\b/i.test(headers.upgrade))

const problemOf = ({ headers, httpVersion, method }: Message): GatewayError | undefined => {
  if (httpVersion !== "1.1") return invalid("A WebSocket is served over HTTP/1.1 only.")
  if (headers.upgrade?.trim().toLowerCase() !== "websocket" || !/\bupgrade\b/i.test(headers.connection ?? "")) {
    return invalid(
      'A WebSocket needs "Connection: Upgrade" and one "Upgrade: websocket". A proxy in front may have taken them off.'
    )
  }
  if (method !== "GET") return new MethodNotAllowed({ message: "A WebSocket is asked for with GET.", allow: "GET" })
  if (headers["transfer-encoding"] !== undefined || (headers["content-length"] ?? "0") !== "0") {
    return invalid("A request for a WebSocket must not have a body.")
  }
  if (!/^[+/0-9A-Za-z]{22}==$/.test(headers["sec-websocket-key"] ?? "")) {
    return invalid("A WebSocket needs one Sec-WebSocket-Key of 16 bytes in base64.")
  }
  const version = headers["sec-websocket-version"]
  if (version === undefined) return invalid("A WebSocket needs a Sec-WebSocket-Version.")
  return version === "13"
    ? undefined
    : new UpgradeRequired({ message: "The only version of WebSocket that is understood is 13." })
}

/** Node would write the answer to the upgrade in the middle of one that is still under way. */
const isAnswering = ({ socket }: IncomingMessage): boolean => "_httpMessage" in socket && Boolean(socket._httpMessage)

const notHandedOver =
  "A WebSocket cannot be opened here: another request is still under way on this connection, or the gateway runs on a Node.js older than 22.21 or 24.9."

const invalid = (message: string) => new InvalidRequest({ message })
