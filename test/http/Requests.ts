/** Requests as they come in over Node, without a socket that leads anywhere. */
import { IncomingMessage, ServerResponse } from "node:http"
import { Socket } from "node:net"
import { Schema } from "effect"
import { HttpServerRequest } from "effect/http"
import { endpointAt } from "../../src/domain/Endpoint.ts"
import { GatewayConfig } from "../../src/domain/GatewayConfig.ts"
import { Listener } from "../../src/domain/Listener.ts"
import type { Incoming } from "../../src/http/Incoming.ts"
import { BackendState, Scoreboard, type Snapshot } from "../../src/registry/Registry.ts"
import { makeSnapshot } from "../../src/registry/Snapshot.ts"

export interface RequestLike {
  readonly method?: string
  readonly path?: string
  /** Names in lower case. */
  readonly headers?: Readonly<Record<string, string>>
  readonly peer?: string
}

export const incoming = ({
  headers = {},
  method = "GET",
  path = "/",
  peer = "127.0.0.1"
}: RequestLike = {}): Incoming => {
  const socket = new Socket()
  Object.defineProperty(socket, "remoteAddress", { value: peer })
  const message = new IncomingMessage(socket)
  return {
    id: "r-1",
    receivedAt: 0,
    request: HttpServerRequest.fromWeb(new Request("http://gateway.test/")),
    message,
    response: new ServerResponse(message),
    method,
    path,
    endpoint: endpointAt(path),
    query: "",
    header: (name) => headers[name]
  }
}

const decodeListener = Schema.decodeUnknownSync(Listener)

export const listener = (more: object = {}): Listener => decodeListener({ host: "127.0.0.1", port: 8000, ...more })

const decodeConfig = Schema.decodeUnknownSync(GatewayConfig)

export const snapshot = (more: object = {}): Snapshot => {
  const board = new Scoreboard()
  return makeSnapshot(decodeConfig(more), 1, ({ name }) => new BackendState(name, board))
}
