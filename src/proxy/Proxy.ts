/** The data plane: from a request that may come in to the answer of a backend, or to the gateway's own. */
import { Context, Duration, Effect, Layer, Schema, Scope } from "effect"
import type { UpstreamBody, UpstreamFailed } from "../backend/UpstreamTransport.ts"
import type { ApiKey } from "../domain/ApiKey.ts"
import { type GatewayError, InvalidRequest, RateLimitExceeded } from "../domain/Errors.ts"
import type { ModelInfo } from "../domain/Health.ts"
import type { Listener } from "../domain/Listener.ts"
import { Span } from "../domain/Units.ts"
import type { PoolEntry, Snapshot } from "../registry/Registry.ts"
import type { Remaining } from "../resilience/RateLimiter.ts"
import { hashText, promptBlocks } from "../scheduler/Scheduler.ts"
import { type Mission, makeAttempts } from "./Attempts.ts"
import { type Endpoint, endpointAt } from "./Endpoint.ts"
import { type Envelope, readEnvelope, withModel } from "./Envelope.ts"
import { Flight } from "./Flight.ts"
import { upwardHeaders } from "./HeaderHygiene.ts"
import { gatherServices, type ProxyServices } from "./ProxyServices.ts"
import { makeRelay, type ProxyResponse } from "./Relay.ts"
import type { RequestReport } from "./RequestReport.ts"
import { sessionKey } from "./Session.ts"

export { type UpstreamBody, UpstreamFailed } from "../backend/UpstreamTransport.ts"
export { bodyTooLarge } from "./Attempts.ts"
export { type Endpoint, endpointAt, endpointRoutes } from "./Endpoint.ts"
export type { ProxyResponse } from "./Relay.ts"
export { RequestReport, type StreamEnd } from "./RequestReport.ts"

export interface ProxyRequest {
  readonly id: string
  readonly snapshot: Snapshot
  readonly listener: Listener
  /** Whose request it is; `undefined` on a listener that asks for no key. */
  readonly key: ApiKey | undefined
  readonly method: string
  /** Without the query. */
  readonly path: string
  /** With its question mark, or empty. */
  readonly query: string
  /** Names and values in turn, as they were sent. */
  readonly rawHeaders: ReadonlyArray<string>
  /** One header by its name in lower case. */
  readonly header: (name: string) => string | undefined
  /** All of it for what is routed by model; else it may come while it is sent on. */
  readonly body: UpstreamBody
  readonly report: RequestReport
}

export class Proxy extends Context.Service<
  Proxy,
  {
    /** What the request took is given back when the scope closes, which must be when its answer was sent or given up. */
    readonly handle: (request: ProxyRequest) => Effect.Effect<ProxyResponse, GatewayError, Scope.Scope>
    /** What clients of a listener (with a key) can ask for, each name once. */
    readonly models: (snapshot: Snapshot, listener: Listener, key: ApiKey | undefined) => ReadonlyArray<ModelInfo>
  }
>()("weir/proxy/Proxy") {
  static readonly layer = Layer.effect(
    Proxy,
    Effect.gen(function* () {
      const services = yield* gatherServices
      const attempts = makeAttempts(services)
      const relay = makeRelay(services)

      const handle = Effect.fnUntraced(function* (request: ProxyRequest) {
        let flight: Flight | undefined
        yield* Scope.addFinalizer(
          yield* Effect.scope,
          Effect.sync(() => {
            if (flight === undefined) return
            flight.land()
            note(flight, request.report)
          })
        )
        // From here to the limits everything happens in one breath: an interruption finds either nothing or the flight.
        const plan = planFor(services, request)
        if (!("flight" in plan)) return yield* plan
        const { mission } = plan
        flight = plan.flight
        const refused = takeLimits(services, request, plan.flight, plan.tokenEstimate)
        if (refused !== undefined) return yield* refused
        services.retry.requested(plan.flight.pool)
        const answer = yield* Effect.onExit(attempts(mission), () =>
          Effect.sync(() => note(plan.flight, request.report))
        )
        const response = relay(mission, answer, request.report)
        addLimits(plan.flight, response.headers)
        return response
      })
      return Proxy.of({ handle, models: services.scheduler.models })
    })
  )
}

interface Plan {
  readonly flight: Flight
  readonly mission: Mission
  readonly tokenEstimate: number
}

/** A model's name is the client's: so much of it is written down. */
const longestNoted = 256

/** Everything that can be decided before anything is taken. */
const planFor = (services: ProxyServices, request: ProxyRequest): Plan | GatewayError => {
  const { report } = request
  const endpoint = request.method === "POST" ? endpointAt(request.path) : undefined
  const envelope = endpoint && readEnvelope(endpoint, request.body instanceof Uint8Array ? request.body : emptyBody)
  if (envelope !== undefined && !("model" in envelope)) return envelope
  const timeout = readTimeout(request.header("x-weir-timeout"))
  if (timeout instanceof InvalidRequest) return timeout
  report.model = envelope?.model.slice(0, longestNoted)
  const { key, listener, path, snapshot } = request
  const routed = services.scheduler.route({ snapshot, listener, key, path, model: envelope?.model })
  if (!("candidates" in routed)) return routed
  report.pool = routed.pool.name
  const flight = new Flight(services, {
    pool: routed.pool,
    candidates: routed.candidates,
    session: sessionKey(request.header("x-session-key"), envelope?.model),
    ...guidance(routed.pool, request, envelope?.model),
    receivedAt: report.receivedAt,
    deadline: report.receivedAt + timeout,
    streaming: envelope?.stream ?? false
  })
  return {
    flight,
    tokenEstimate: envelope?.tokenEstimate ?? 0,
    mission: missionFor(request, endpoint, envelope, flight, routed.upstreamModel)
  }
}

/** What the pool's strategy goes by; nothing is worked out for one that does not look at it. */
const guidance = ({ config: { strategy } }: PoolEntry, { body, header }: ProxyRequest, model: string | undefined) => {
  const bytes = body instanceof Uint8Array ? body : undefined
  const prompt =
    (strategy === "prefix_aware" || strategy === "consistent_hash") && bytes !== undefined
      ? promptBlocks(bytes, hashText(model ?? ""))
      : undefined
  const session = header("x-session-key")
  const hashKey = strategy !== "consistent_hash" ? undefined : session === undefined ? prompt?.[0] : hashText(session)
  return { hashKey, prompt: strategy === "prefix_aware" ? prompt : undefined }
}

const missionFor = (
  request: ProxyRequest,
  endpoint: Endpoint | undefined,
  envelope: Envelope | undefined,
  flight: Flight,
  upstreamModel: string | undefined
): Mission => {
  const { body, method } = request
  return {
    flight,
    outgoing: {
      method,
      path: request.path,
      query: request.query,
      headers: upwardHeaders(request.rawHeaders, {
        readable: endpoint !== undefined,
        requestId: request.id,
        userAgent: flight.pool.config.client.userAgent
      }),
      readable: endpoint !== undefined,
      body: upstreamModel !== undefined && body instanceof Uint8Array ? withModel(body, upstreamModel) : body
    },
    dialect: endpoint?.dialect ?? "none",
    choices: envelope?.choices ?? 1,
    passedThrough: endpoint === undefined,
    repeatable: (failure) => isRepeatable(request, endpoint, failure),
    group: envelope?.model ?? "",
    priority: request.key?.priority ?? 0
  }
}

const emptyBody = new Uint8Array(0)

const idempotent = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"])

/**
 * Inference may be asked for twice: nothing but the answer comes of it. What is passed through by path may be more
 * than that; then it is sent again only if it never left, and never if its body is being streamed.
 */
const isRepeatable = (request: ProxyRequest, endpoint: Endpoint | undefined, failure: UpstreamFailed | undefined) => {
  const { body, method } = request
  if (body !== undefined && !(body instanceof Uint8Array)) return false
  return endpoint !== undefined || idempotent.has(method) || failure?.kind === "connect"
}

const decodeSpan = Schema.decodeUnknownOption(Span)

/** Milliseconds; `Infinity` where the client sets no deadline. */
const readTimeout = (header: string | undefined): number | InvalidRequest => {
  if (header === undefined) return Number.POSITIVE_INFINITY
  const span = decodeSpan(header)
  return span._tag === "Some" && Duration.toMillis(span.value) > 0
    ? Duration.toMillis(span.value)
    : new InvalidRequest({ message: "X-Weir-Timeout must be a duration such as 500ms, 30s or 5m." })
}

/** The key's own limits; what was taken is settled when the flight lands. */
const takeLimits = (
  { limiter, metrics }: ProxyServices,
  { key, listener }: ProxyRequest,
  flight: Flight,
  tokens: number
): RateLimitExceeded | undefined => {
  if (key === undefined) return undefined
  const taken = limiter.takeKey(key, tokens)
  if (taken instanceof RateLimitExceeded) {
    metrics.rateLimited(listener.name, "key")(1)
    return taken
  }
  flight.keyUse = taken
  return undefined
}

/** What is left of a key's limits, in the names of OpenAI's API. */
const addLimits = ({ keyUse }: Flight, headers: Record<string, string>): void => {
  const add = (kind: string, left: Remaining | undefined) => {
    if (left === undefined) return
    headers[`x-ratelimit-limit-${kind}`] = String(left.limit)
    headers[`x-ratelimit-remaining-${kind}`] = String(left.remaining)
    headers[`x-ratelimit-reset-${kind}`] = `${(left.reset / 1000).toFixed(3)}s`
  }
  add("requests", keyUse?.requests())
  add("tokens", keyUse?.tokens())
}

const note = (flight: Flight, report: RequestReport): void => {
  report.backend = flight.lease?.member.backend.name ?? report.backend
  report.attempts = flight.attempts
  report.queued = flight.queued
  report.upstream = flight.upstream
}
