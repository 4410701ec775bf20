/** What a request needs to be sent: everything that can be decided before anything is taken. */
import { Duration, Effect, Schema, Semaphore } from "effect"
import type { Outgoing } from "../backend/BackendAdapter.ts"
import { type GatewayError, InvalidRequest, ToolsNotSupported } from "../domain/Errors.ts"
import { Span } from "../domain/Units.ts"
import { edited, setMember } from "../protocol/BodyEdit.ts"
import { promptFrom } from "../protocol/BodyOutline.ts"
import { isLong } from "../protocol/BodyReading.ts"
import { deploymentIn, type Endpoint, withDeployment } from "../protocol/Endpoint.ts"
import { type Envelope, formEnvelope, readEnvelope, readLongEnvelope, unreadEnvelope } from "../protocol/Envelope.ts"
import { gptOssEdits } from "../protocol/GptOssEdits.ts"
import { needsTools } from "../protocol/ToolUse.ts"
import { modelOfUpgrade, withUpgradeModel } from "../protocol/UpgradeModel.ts"
import type { Route, RouteRequest } from "../routing/Router.ts"
import { guidanceFor, type Lease } from "../scheduler/Scheduler.ts"
import type { UpstreamFailed } from "../transport/UpstreamTransport.ts"
import { toUpstream } from "./HeaderFilter.ts"
import { refuseTargets } from "./PassThrough.ts"
import type { ProxyRequest } from "./ProxyRequest.ts"
import type { ProxyServices } from "./ProxyServices.ts"
import type { RequestPlan } from "./RequestPlan.ts"
import { RequestState } from "./RequestState.ts"
import { makeRequestTrace } from "./RequestTrace.ts"
import { makeSessions } from "./Session.ts"

export class Plan {
  readonly flight: RequestState
  readonly mission: RequestPlan
  readonly tokenEstimate: number
  /** The plan for another model, should this one come to nothing; `undefined` where none is configured. */
  readonly standIn: (() => Plan | undefined) | undefined

  constructor(
    flight: RequestState,
    mission: RequestPlan,
    tokenEstimate: number,
    standIn: (() => Plan | undefined) | undefined
  ) {
    this.flight = flight
    this.mission = mission
    this.tokenEstimate = tokenEstimate
    this.standIn = standIn
  }
}

/** What was read of a request. */
interface Inquiry {
  readonly request: ProxyRequest
  /** `undefined` where the request goes by path, or its path is not known for what it does. */
  readonly endpoint: Endpoint | undefined
  readonly envelope: Envelope | undefined
  /** As the client named it; `undefined` where it named none. */
  readonly model: string | undefined
  /** Monotonic milliseconds. */
  readonly deadline: number
}

/** A model's name is the client's: so much of it is written down. */
const longestNoted = 256

export const makePlanner = (services: ProxyServices) => {
  const { router, scheduler } = services
  const sessionOf = makeSessions()
  const turns = Semaphore.makeUnsafe(1)

  const planFor = (inquiry: Inquiry, route: Route): Plan | GatewayError => {
    const { deadline, endpoint, envelope, request } = inquiry
    const { candidates, pool, rule } = route
    const refused = endpoint === undefined ? refuseTargets(services, request, candidates.all) : undefined
    if (refused !== undefined) return refused
    if (
      rule?.tools?.parser === "none" &&
      endpoint !== undefined &&
      envelope !== undefined &&
      needsTools(envelope.outline)
    )
      return noTools(envelope)
    const { header, report } = request
    report.pool = pool.name
    const client = { session: header("x-session-key"), outline: envelope?.outline, address: request.address }
    const flight = new RequestState(services, {
      pool,
      // What an engine says to an upgrade, or at a path of unknown meaning, counts as little as what it says by path.
      model: endpoint === undefined ? undefined : route.model,
      candidates,
      session: sessionOf(pool.config.sticky, client, route.model),
      ...guidanceFor(pool.config.strategy, {
        model: route.model,
        session: client.session,
        prompt: () => envelope && promptFrom(envelope.outline)
      }),
      deadline,
      streaming: envelope?.stream ?? request.upgrade !== undefined,
      method: request.method,
      trace:
        report.span &&
        makeRequestTrace(report.span, request.method, endpoint, envelope, services.tracing.captureContent)
    })
    // Another model is asked for the same thing: that must do no harm, where a backend may have done it already.
    const mayStandIn = () => flight.allAttempts === 0 || isRepeatable(request, endpoint, undefined)
    const mission: RequestPlan = {
      state: flight,
      path: request.path,
      outgoing: outgoingOf(inquiry, route),
      model: route.model,
      dialect: endpoint?.dialect ?? "none",
      choices: envelope?.choices ?? 1,
      passedThrough: endpoint === undefined,
      upgrades: request.upgrade !== undefined,
      hasFallback: () => mayStandIn() && hasFallback(routeRequest(inquiry), route, services.timers.now()),
      repeatable: (failure) => isRepeatable(request, endpoint, failure),
      group: route.model ?? "",
      priority: request.key?.priority ?? 0
    }
    const standIn = () => (mayStandIn() ? planInsteadOf(inquiry, route) : undefined)
    // What was read of the body is kept no longer than it may be needed.
    return new Plan(flight, mission, envelope?.tokenEstimate ?? 0, route.isLast ? undefined : standIn)
  }

  /** Whether another way for the request leads to a backend that can take it now, or will have room. */
  const hasFallback = (request: RouteRequest, before: Route, now: number): boolean => {
    let way = router.fallback(request, before)
    while (way !== undefined && !hasRoom(way, now)) way = router.fallback(request, way)
    return way !== undefined
  }

  const hasRoom = ({ candidates, model, pool }: Route, now: number): boolean => {
    const found = scheduler.outlook({ candidates, model, pool, ...noHints }, now)
    return found === "ready" || found.reason === "saturated"
  }

  /** The next way for the request that can do what is asked. */
  const planInsteadOf = (inquiry: Inquiry, before: Route): Plan | undefined => {
    const route = router.fallback(routeRequest(inquiry), before)
    if (route === undefined) return undefined
    const plan = planFor(inquiry, route)
    return plan instanceof Plan ? plan : planInsteadOf(inquiry, route)
  }

  /** From what was read of a request to its plan, in one breath. */
  const plan = (request: ProxyRequest, envelope: Envelope | undefined): Plan | GatewayError => {
    const { report } = request
    const timeout = readTimeout(request.header("x-weir-timeout"))
    if (timeout instanceof InvalidRequest) return timeout
    const model = request.upgrade === undefined ? envelope?.model : modelOfUpgrade(request)
    if (model instanceof InvalidRequest) return model
    report.model = model?.slice(0, longestNoted)
    const endpoint = envelope === undefined ? undefined : request.endpoint
    const inquiry = { request, endpoint, envelope, model, deadline: report.receivedAt + timeout }
    const route = router.route(routeRequest(inquiry))
    return "candidates" in route ? planFor(inquiry, route) : route
  }

  const planOf = (request: ProxyRequest, outcome: ReturnType<typeof readEnvelope>): Plan | GatewayError =>
    outcome === undefined || "model" in outcome ? plan(request, outcome) : outcome

  /** Synchronous, but for a long body: that is read in slices, between which other requests get their turn. */
  return (request: ProxyRequest): Plan | GatewayError | Effect.Effect<Plan, GatewayError> => {
    const { endpoint, path, payload, snapshot, upgrade } = request
    if (upgrade !== undefined) return plan(request, undefined)
    const addressed = { endpoint, path, defaultModel: snapshot.config.defaultModel }
    if (payload.form !== undefined) return plan(request, formEnvelope(addressed, payload.form.model))
    const body = payload.body ?? (endpoint?.requiresModel === true ? emptyBody : undefined)
    if (!(body instanceof Uint8Array)) return plan(request, unreadEnvelope(addressed))
    if (!isLong(body)) return planOf(request, readEnvelope(addressed, body))
    return Effect.flatMap(readLongEnvelope(addressed, body, turns), (outcome) => {
      const planned = planOf(request, outcome)
      return planned instanceof Plan ? Effect.succeed(planned) : Effect.fail(planned)
    })
  }
}

const noHints = { session: undefined, hashKey: undefined, prompt: undefined, tried: [] }

const emptyBody = new Uint8Array(0)

const routeRequest = ({ envelope, model, request }: Inquiry): RouteRequest => {
  const { key, listener, path, report, snapshot } = request
  return { snapshot, listener, key, path, model, other: envelope?.other, now: report.receivedAt }
}

/** The request as it goes to the backend of a lease: the client's bytes, with another model where that is asked for. */
const outgoingOf = (inquiry: Inquiry, { model, pool, rule }: Route): RequestPlan["outgoing"] => {
  const { endpoint, envelope, request } = inquiry
  const { id, method, path, payload, query, rawHeaders, upgrade } = request
  const { body, form } = payload
  const readable = endpoint !== undefined
  const outgoing: Outgoing = {
    method,
    path,
    query,
    headers: toUpstream(rawHeaders, { readable, requestId: id, userAgent: pool.config.client.userAgent }),
    readable,
    body,
    upgrade
  }
  if (upgrade !== undefined && model !== undefined) {
    return ({ instance = model }: Lease) =>
      instance === inquiry.model ? outgoing : { ...outgoing, ...withUpgradeModel(outgoing, instance) }
  }
  if (envelope === undefined || model === undefined) return () => outgoing
  const { member, outline, written } = envelope
  const isRead = outline.bytes.length > 0
  const added = readable && isRead && rule?.gptOss === true ? gptOssEdits(envelope.model, outline) : []
  const outgoingFor = (name: string): Outgoing => {
    const edits = member === undefined || name === written ? added : [...added, setMember(outline, member, name)]
    return {
      ...outgoing,
      path: name === envelope.model || deploymentIn(path) === undefined ? path : withDeployment(path, name),
      body: isRead ? edited(outline.bytes, edits) : form === undefined ? body : form.named(name)
    }
  }
  // Only when it is asked for: where an instance is chosen, it would be a copy of the body that is never sent.
  let named: Outgoing | undefined
  return ({ instance = model }: Lease) => {
    if (instance !== model) return outgoingFor(instance)
    named ??= outgoingFor(model)
    return named
  }
}

const idempotent = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"])

/**
 * Inference may be asked for twice: nothing but the answer comes of it. What is passed through by path may be more
 * than that; then it is sent again only if it never left, and never if its body is being streamed.
 */
const isRepeatable = (
  { method, payload: { body } }: ProxyRequest,
  endpoint: Endpoint | undefined,
  failure: UpstreamFailed | undefined
): boolean => {
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

const noTools = ({ outline }: Envelope): ToolsNotSupported =>
  new ToolsNotSupported({
    message: "This model cannot call tools: ask another one, or leave the tools and the calls in the messages out.",
    param: outline.has("tools") ? "tools" : outline.has("functions") ? "functions" : "messages"
  })
