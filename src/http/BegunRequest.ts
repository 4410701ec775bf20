/** One request from its head to its end: what holds for it, what is kept of it, and what is written down in the end. */
import { Cause, Effect, type Exit, Result } from "effect"
import type { ApiKey } from "../domain/ApiKey.ts"
import { type GatewayError, ShuttingDown } from "../domain/Errors.ts"
import { MonotonicClock } from "../domain/MonotonicClock.ts"
import { Proxy, type ProxyRequest, RequestReport, type UpstreamBody } from "../proxy/Proxy.ts"
import { Timers } from "../resilience/Timers.ts"
import { type ActiveSpan, Tracing } from "../telemetry/Telemetry.ts"
import { HeldBodies, HeldBody } from "./BodyReading.ts"
import { corsHeaders } from "./BrowserGuard.ts"
import { makeClientAddress } from "./ClientAddress.ts"
import { type Admitted, type Arrival, arrivalOf, type GateOutcome, makeGates } from "./Gates.ts"
import type { Incoming } from "./Incoming.ts"
import { makeReporter } from "./Reporter.ts"
import { beginSpan, withoutSampledFlag } from "./RequestSpan.ts"
import type { FindRoute } from "./routes/BuiltinRoutes.ts"
import type { Binding } from "./server/Bindings.ts"
import type { Connections, Visited } from "./server/Connections.ts"
import type { Current, ListenerContext } from "./server/Listeners.ts"
import { hangUp } from "./server/Upgrades.ts"
import { isUpgrade } from "./server/WebSocketHead.ts"

export interface BegunRequest {
  readonly arrival: Arrival
  readonly gated: GateOutcome
  readonly report: RequestReport
  readonly payload: HeldBody
  readonly connection: Visited
}

export type Requests = Effect.Success<typeof makeRequests>

export const makeRequests = Effect.gen(function* () {
  const clock = yield* MonotonicClock
  const timers = yield* Timers
  const proxy = yield* Proxy
  const tracing = yield* Tracing
  const reporter = yield* makeReporter
  const clientAddress = makeClientAddress()
  const runGates = yield* makeGates(clientAddress)
  const bodies = new HeldBodies()

  /** Whether it is ours to follow what a request says of its tracing. */
  const isTrusted = ({ incoming, listener }: Arrival, key: ApiKey | undefined): boolean =>
    key !== undefined || clientAddress.isTrustedPeer(incoming, listener)

  const spanOf = (arrival: Arrival, gated: GateOutcome): ActiveSpan | undefined => {
    if (arrival.own !== undefined || !tracing.enabled) return undefined
    const key = Result.isSuccess(gated) && gated.success._tag === "Admitted" ? gated.success.key : undefined
    return beginSpan(tracing, arrival.incoming, arrival.listener, () => isTrusted(arrival, key))
  }

  /** What was begun is to be `ended`, once. */
  const begin = (
    incoming: Incoming,
    { binding, snapshot }: Current,
    connections: Connections,
    find: (binding: Binding) => FindRoute
  ): BegunRequest => {
    const { listener } = binding
    const own = find(binding)(incoming.path, incoming.method)
    const arrival = arrivalOf(incoming, snapshot, listener, own)
    const report = new RequestReport(incoming.receivedAt)
    const gated = runGates(arrival)
    report.span = spanOf(arrival, gated)
    return { arrival, gated, report, payload: new HeldBody(bodies), connection: connections.begin(incoming.message) }
  }

  const ended = (
    { arrival: { incoming, listener, own }, connection, payload, report }: BegunRequest,
    { connections }: ListenerContext,
    exit: Exit.Exit<unknown, unknown>
  ): void => {
    payload.letGo()
    connections.end(connection)
    if (isUpgrade(incoming.message)) hangUp(incoming.message.socket, { clock, timers })
    reporter.ended(incoming, listener, own, report, exit)
  }

  /** As the proxy gets it, with its body. */
  const proxyRequestOf = (
    { arrival, payload, report }: BegunRequest,
    { address, key }: Admitted,
    body: UpstreamBody
  ): ProxyRequest => {
    const { incoming, listener, snapshot } = arrival
    const { header, id, method, path, query } = incoming
    payload.body = body
    const raw = incoming.message.rawHeaders
    const isForeign = report.span === undefined && tracing.enabled && !isTrusted(arrival, key)
    return {
      id,
      snapshot,
      listener,
      key,
      address,
      method,
      path,
      endpoint: method === "POST" ? incoming.endpoint : undefined,
      query,
      rawHeaders: isForeign ? withoutSampledFlag(raw) : raw,
      header,
      upgrade: isUpgrade(incoming.message) ? "websocket" : undefined,
      payload,
      report
    }
  }

  const run = Effect.runForkWith(yield* Effect.context())
  /** For what has no fiber that would tell it. */
  const tellDefect = (defect: unknown): void => {
    run(Effect.logError("a request has died", Cause.die(defect)))
  }

  return { begin, ended, proxyRequestOf, tellDefect, clock, timers, proxy, reporter }
})

/** What every answer carries, whatever gives it. */
export const headersOfAll = (
  { incoming, listener, open }: Arrival,
  connections: Connections
): Record<string, string> => {
  const headers = corsHeaders(incoming, listener, open)
  headers["x-request-id"] = incoming.id
  // Of HTTP/2 the whole connection says it, in a frame of its own.
  if (connections.closing && incoming.message.httpVersionMajor === 1) headers["connection"] = "close"
  return headers
}

export const stopping = (): GatewayError =>
  new ShuttingDown({ message: "The gateway is about to stop. Please try again.", retryAfter: 1 })
