/** Reads the plainest requests of a server by itself; every other connection is Node's, as it would be without this. */
import type { Server as NodeServer } from "node:http"
import type { Http2SecureServer } from "node:http2"
import type { Socket } from "node:net"
import { TLSSocket } from "node:tls"
import { PlainConnection, type PlainParts } from "./PlainConnection.ts"
import { DateLine } from "./PlainResponse.ts"

export type { PlainRequest } from "./PlainConnection.ts"

export type PlainOptions = Omit<PlainParts, "date" | "giveToNode" | "onCutOff" | "onSilent" | "waiting">

/** To be called for a server that nothing listens to yet but Node itself. */
export const servePlainly = (server: NodeServer | Http2SecureServer, options: PlainOptions): void => {
  const event = "setSecureContext" in server ? "secureConnection" : "connection"
  const [nodes] = server.listeners(event)
  if (nodes === undefined) return
  /** As Node tells it of its own connections. */
  const tell = (socket: Socket, message: string, code: string) =>
    server.emit("clientError", Object.assign(new Error(message), { code }), socket)
  const parts: PlainParts = {
    ...options,
    date: new DateLine(),
    waiting: { count: 0 },
    giveToNode: (socket) => void Reflect.apply(nodes, server, [socket]),
    onSilent: (socket) => tell(socket, "Request timeout", "ERR_HTTP_REQUEST_TIMEOUT"),
    onCutOff: (socket) => tell(socket, "Parse Error: Invalid EOF state", "HPE_INVALID_EOF_STATE")
  }
  server.removeAllListeners(event)
  server.on(event, (socket: Socket) => {
    if (socket instanceof TLSSocket && socket.alpnProtocol === "h2") parts.giveToNode(socket)
    else void new PlainConnection(parts, socket)
  })
}
