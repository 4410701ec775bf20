/** Requests as they come in over Node, without a socket that leads anywhere. */
import { IncomingMessage, ServerResponse } from "node:http"
import { Socket } from "node:net"
import { Effect, Schema } from "effect"
import { HttpServerResponse } from "effect/http"
import { GatewayConfig } from "../../src/domain/GatewayConfig.ts"
import { Listener } from "../../src/domain/Listener.ts"
import { FromNode, type Incoming } from "../../src/http/Incoming.ts"
import { answerOwn, type BuiltinRoute } from "../../src/http/routes/BuiltinRoutes.ts"
import { endpointAt } from "../../src/protocol/Endpoint.ts"
import { BackendState, LoadColumns, type Snapshot } from "../../src/registry/Registry.ts"
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
}: RequestLike = {}): Incoming & { readonly message: IncomingMessage } => {
  const socket = new Socket()
  Object.defineProperty(socket, "remoteAddress", { value: peer })
  const message = new IncomingMessage(socket)
  const response = new ServerResponse(message)
  return {
    id: "r-1",
    receivedAt: 0,
    message,
    response,
    source: new FromNode(message, response),
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
  const columns = new LoadColumns()
  return makeSnapshot(decodeConfig(more), 1, ({ name }) => new BackendState(name, columns))
}

/** What one of the gateway's own routes answers, as it goes out. */
export const answerOf = (route: BuiltinRoute, request: RequestLike, shown = snapshot()) =>
  Effect.map(
    answerOwn(route, { incoming: incoming(request), snapshot: shown, listener: listener(), key: undefined }),
    (response) => HttpServerResponse.toWeb(response)
  )

/** The JSON that one of them answers to a GET. */
export const jsonOf = (route: BuiltinRoute, path: string, shown = snapshot()) =>
  Effect.flatMap(answerOf(route, { path }, shown), (response) =>
    Effect.promise((): Promise<unknown> => response.json())
  )
