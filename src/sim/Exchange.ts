/** One request on its way through the server: its place in the books and Node's own objects for it. */
import { IncomingMessage, ServerResponse } from "node:http"
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import { Clock, Context, Effect } from "effect"
import type { HttpServerRequest } from "effect/http"
import type { Entry, RequestLog } from "./RequestLog.ts"

export class Exchange extends Context.Service<
  Exchange,
  {
    readonly path: string
    readonly entry: Entry
    readonly incoming: IncomingMessage
    readonly outgoing: ServerResponse
  }
>()("weir/sim/Exchange") {}

/** Requests that watch the server rather than use it; they are not counted. */
const watchers = new Set(["/health", "/metrics", "/llmhealth", "/slots", "/v1/models", "/api/ps", "/api/tags"])

/** Enters a request into the books; the entry closes with Node's response, however that comes about. */
export const openExchange = Effect.fnUntraced(function* (
  request: HttpServerRequest.HttpServerRequest,
  path: string,
  log: RequestLog
) {
  const incoming = NodeHttpServerRequest.toIncomingMessage(request)
  const outgoing = NodeHttpServerRequest.toServerResponse(request)
  if (!(incoming instanceof IncomingMessage) || !(outgoing instanceof ServerResponse)) {
    return yield* Effect.die(new Error("the simulator speaks HTTP/1.1 only"))
  }
  const startedAt = yield* Clock.currentTimeMillis
  const { rawHeaders } = incoming
  const headers = rawHeaders.flatMap(
    (name, index): ReadonlyArray<readonly [string, string]> =>
      index % 2 === 0 ? [[name, rawHeaders[index + 1] ?? ""]] : []
  )
  const entry = log.open(
    { method: request.method, url: incoming.url ?? "", headers, startedAt },
    !watchers.has(path) && !path.startsWith("/v1/models/")
  )
  outgoing.once("close", () => {
    const status = outgoing.headersSent ? outgoing.statusCode : undefined
    if (!outgoing.writableFinished) entry.close("cancelled", status)
    else entry.close(outgoing.statusCode >= 400 ? "failed" : "finished", status)
  })
  return Exchange.of({ path, entry, incoming, outgoing })
})
