/** What the gateway answers itself: a table from path to method to answer. */
import { Effect } from "effect"
import type { HttpServerResponse } from "effect/http"
import type { ApiKey } from "../../domain/ApiKey.ts"
import { type GatewayError, MethodNotAllowed, NotFound } from "../../domain/Errors.ts"
import type { Listener } from "../../domain/Listener.ts"
import type { Snapshot } from "../../registry/Registry.ts"
import type { Incoming } from "../Incoming.ts"

/** Which requests are answered: all, those with a key where keys are asked for, or those with the admin token. */
export type Access = "public" | "client" | "admin"

export interface OwnRequest {
  readonly incoming: Incoming
  readonly snapshot: Snapshot
  readonly listener: Listener
  /** Whose request it is, where a key was asked for. */
  readonly key: ApiKey | undefined
}

export interface BuiltinRoute {
  /** A label for metrics. */
  readonly route: string
  readonly access: Access
  /** By method, HEAD as GET; `*` for all others. */
  readonly methods: Readonly<Partial<Record<string, (request: OwnRequest) => Answering>>>
}

/** Where nothing is passed through, everything else is not there. */
export const nothingHere: BuiltinRoute = {
  route: "other",
  access: "public",
  methods: { "*": () => Effect.fail(new NotFound({ message: "Nothing is served at this path." })) }
}

/** Where a client's address ends in `/v1` and the client adds another. */
export const versionTwice: BuiltinRoute = {
  route: "other",
  access: "client",
  methods: {
    "*": () =>
      Effect.fail(
        new NotFound({
          message: "The path has /v1 twice: the client adds it to its base URL. Take /v1 off the end of the base URL."
        })
      )
  }
}

/** Whether a path begins with `/v1` more than once. */
export const hasVersionTwice = (path: string): boolean =>
  path.startsWith("/v1/v1") && (path.length === "/v1/v1".length || path["/v1/v1".length] === "/")

export type Answering = Effect.Effect<HttpServerResponse.HttpServerResponse, GatewayError>

/** Finds the route of a path (without its query), where the gateway has one for all methods or for this one. */
export type FindRoute = (path: string, method: string) => BuiltinRoute | undefined

/** What a route answers to a request's method; HEAD is answered as GET is. */
export const answerOwn = ({ methods }: BuiltinRoute, request: OwnRequest): Answering => {
  const { method } = request.incoming
  // Over HTTP/2 a method may have any name, that of something every object has among them.
  const named = (name: string) => (Object.hasOwn(methods, name) ? methods[name] : undefined)
  const handler = named(method) ?? (method === "HEAD" ? named("GET") : undefined) ?? named("*")
  return handler === undefined ? Effect.fail(wrongMethod(Object.keys(methods))) : handler(request)
}

export const wrongMethod = (allowed: ReadonlyArray<string>): MethodNotAllowed => {
  const all = allowed.flatMap((name) => (name === "GET" ? ["GET", "HEAD"] : [name]))
  return new MethodNotAllowed({ message: "This method is not allowed here.", allow: all.join(", ") })
}
