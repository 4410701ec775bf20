/**
 * Makes the plan of a request, where its listener lets its path through, and those of its fallbacks: when another model
 * is asked in place of the one that was named.
 */
import { Duration, Effect, Result, Schema, Semaphore } from "effect"
import { memoize } from "effect/Function"
import { BackendAdapter } from "../backend/BackendAdapter.ts"
import { administers } from "../domain/Administration.ts"
import { type GatewayError, InvalidRequest, PathNotAllowed, ToolsNotSupported } from "../domain/Errors.ts"
import type { Listener } from "../domain/Listener.ts"
import { MonotonicClock } from "../domain/MonotonicClock.ts"
import { Span } from "../domain/Units.ts"
import { promptFrom } from "../protocol/BodyOutline.ts"
import { isLong } from "../protocol/BodyReading.ts"
import { type Envelope, formEnvelope, readEnvelope, readLongEnvelope, unreadEnvelope } from "../protocol/Envelope.ts"
import { saysPromptIsTooLong } from "../protocol/RefusalText.ts"
import { makeSessions } from "../protocol/Session.ts"
import { needsTools } from "../protocol/ToolUse.ts"
import { modelOfUpgrade } from "../protocol/UpgradeModel.ts"
import type { Member } from "../registry/Registry.ts"
import { type PathRouter, pathRouterOf, type Route, type RouteRequest, Router } from "../routing/Router.ts"
import { Scheduler, selectionHintsFor } from "../scheduler/Scheduler.ts"
import { Tracing } from "../telemetry/Telemetry.ts"
import type { ProxyRequest } from "./ProxyRequest.ts"
import { isRepeatable, type RequestPlan } from "./RequestPlan.ts"
import { makeRequestTrace } from "./RequestTrace.ts"
import type { UpstreamAnswer } from "./UpstreamAnswer.ts"

export type Planned = Result.Result<RequestPlan, GatewayError>

export interface Planner {
  /** At once, but for a long body: that is read in slices, between which other requests get their turn. */
  readonly plan: (request: ProxyRequest) => Planned | Effect.Effect<RequestPlan, GatewayError>
  /** The next way for a request whose plan led to nothing; `undefined` where there is none. */
  readonly fallback: (plan: RequestPlan, attempts: number) => RequestPlan | undefined
  /** Whether one of these ways leads to a backend that can take the request now, or will have room. */
  readonly hasFallback: (plan: RequestPlan, attempts: number) => boolean
}

/** A model's name is the client's: so many characters of it are noted. */
const maxNotedCharacters = 256

export const makePlanner = Effect.gen(function* () {
  const adapters = yield* BackendAdapter
  const router = yield* Router
  const scheduler = yield* Scheduler
  const clock = yield* MonotonicClock
  const tracing = yield* Tracing
  const sessionOf = makeSessions()
  const turns = Semaphore.makeUnsafe(1)

  const planOn = (request: ProxyRequest, namedModel: string | undefined, deadline: number, route: Route): Planned => {
    const { header, method, payload, report } = request
    const { envelope } = payload
    const endpoint = envelope === undefined ? undefined : request.endpoint
    const { candidates, pool, rule } = route
    const refused = endpoint === undefined ? refuseTargets(adapters, request, candidates.all) : undefined
    if (refused !== undefined) return Result.fail(refused)
    if (rule?.tools?.parser === "none" && endpoint !== undefined && envelope !== undefined) {
      if (needsTools(envelope.outline)) return Result.fail(noTools(envelope))
    }
    report.pool = pool.name
    const outline = envelope?.outline
    const client = { session: header("x-session-key"), outline, address: request.address }
    const model = endpoint === undefined ? undefined : route.model
    const prompt = () => outline && promptFrom(outline)
    const { hashKey, prompt: blocks } = selectionHintsFor(pool.config.strategy, {
      model,
      session: client.session,
      prompt
    })
    return Result.succeed({
      request,
      route,
      pool,
      candidates,
      namedModel,
      model,
      endpoint,
      dialect: endpoint?.dialect ?? "none",
      passedThrough: endpoint === undefined,
      session: sessionOf(pool.config.sticky, client, route.model),
      hashKey,
      prompt: blocks,
      streaming: envelope?.stream ?? request.upgrade !== undefined,
      choices: envelope?.choices ?? 1,
      tokenEstimate: envelope?.tokenEstimate ?? 0,
      deadline,
      trace: report.span && makeRequestTrace(report.span, method, endpoint, envelope, tracing.captureContent)
    })
  }

  const fallback = (plan: RequestPlan, attempts: number): RequestPlan | undefined => {
    if (!mayFallBack(plan, attempts)) return undefined
    const { deadline, namedModel, request } = plan
    let route = router.fallback(routeRequest(request, namedModel), plan.route)
    while (route !== undefined) {
      const planned = planOn(request, namedModel, deadline, route)
      if (Result.isSuccess(planned)) return planned.success
      route = router.fallback(routeRequest(request, namedModel), route)
    }
    return undefined
  }

  const hasFallback = (plan: RequestPlan, attempts: number): boolean => {
    if (!mayFallBack(plan, attempts)) return false
    const now = clock.now()
    const request = routeRequest(plan.request, plan.namedModel)
    let route = router.fallback(request, plan.route)
    while (route !== undefined && !hasRoom(route, now)) route = router.fallback(request, route)
    return route !== undefined
  }

  const hasRoom = ({ candidates, model, pool }: Route, now: number): boolean => {
    const outlook = scheduler.outlook({ candidates, model, pool, ...noHints }, now)
    return outlook === "ready" || outlook.reason === "saturated"
  }

  /** From what was read of a request to its plan; nothing waits here. */
  const planWith = (request: ProxyRequest, envelope: Envelope | undefined): Planned => {
    const { payload, report } = request
    payload.envelope = envelope
    const timeout = readTimeout(request.header("x-weir-timeout"))
    if (Result.isFailure(timeout)) return Result.fail(timeout.failure)
    const named = request.upgrade === undefined ? Result.succeed(envelope?.model) : modelOfUpgrade(request)
    if (Result.isFailure(named)) return Result.fail(named.failure)
    const model = named.success
    report.model = model?.slice(0, maxNotedCharacters)
    const route = router.route(routeRequest(request, model))
    return Result.flatMap(route, (way) => planOn(request, model, report.receivedAt + timeout.success, way))
  }

  const plan: Planner["plan"] = (request) => {
    const { endpoint, path, payload, snapshot, upgrade } = request
    if (upgrade !== undefined) return planWith(request, undefined)
    const addressed = { endpoint, path, defaultModel: snapshot.config.defaultModel }
    if (payload.form !== undefined) return planWith(request, formEnvelope(addressed, payload.form.model))
    const body = payload.body ?? (endpoint?.requiresModel === true ? emptyBody : undefined)
    if (!(body instanceof Uint8Array)) return planWith(request, unreadEnvelope(addressed))
    if (!isLong(body)) return Result.flatMap(readEnvelope(addressed, body), (read) => planWith(request, read))
    return Effect.flatMap(readLongEnvelope(addressed, body, turns), (read) =>
      Effect.fromResult(planWith(request, read))
    )
  }

  const planner: Planner = { plan, fallback, hasFallback }
  return planner
})

/** Why a listener does not pass a path through that is no endpoint, over HTTP or WebSocket; `undefined` where it does. */
export const refusePath = (listener: Listener, method: string, path: string): PathNotAllowed | undefined => {
  const { passThrough } = listener
  if (passThrough === "all") return undefined
  if (passThrough === "none") return noneRefusal()
  return administers(method, path) && !isNamed(listener, path) ? safeRefusal() : undefined
}

/** The same for what the path becomes at the backends that may be asked: an address can have a path of its own. */
const refuseTargets = (
  adapters: BackendAdapter["Service"],
  { listener, method, path }: Pick<ProxyRequest, "listener" | "method" | "path">,
  candidates: ReadonlyArray<Member>
): PathNotAllowed | undefined => {
  if (listener.passThrough === "all" || listener.passThrough === "none") return undefined
  const reaches = ({ backend }: Member): boolean => {
    const other = adapters.otherPath(backend.config, path)
    return other !== undefined && administers(method, other)
  }
  return candidates.some(reaches) && !isNamed(listener, path) ? safeRefusal() : undefined
}

/** Patterns name paths as they are written: no other spelling is meant. */
const isNamed = (listener: Listener, path: string): boolean => namesOf(listener).find(path) === true

const namesOf = memoize(({ passThrough }: Listener): PathRouter<true> => {
  const patterns = typeof passThrough === "string" ? [] : passThrough
  return pathRouterOf(patterns.map((each) => [each, true]))
})

const safeRefusal = () =>
  new PathNotAllowed({
    message: "This path administers an engine; the listener's setting passThrough does not let it through."
  })

const noneRefusal = () =>
  new PathNotAllowed({
    message: "This path is no endpoint of inference; the listener's setting passThrough lets no other through."
  })

/**
 * No backend was there, all had too much to do or were silent, or the prompt was too long: with another model it may go
 * better. `wasSilent`: a time-out was one for the first byte; what takes too long as a whole is not asked for again.
 */
export const callsForFallback = (outcome: UpstreamAnswer | GatewayError, wasSilent: boolean): boolean => {
  if (!("response" in outcome)) {
    return errorsForFallback.has(outcome._tag) || (wasSilent && outcome._tag === "UpstreamTimeout")
  }
  const { status } = outcome.response
  if (isOverload(status)) return true
  return (status === 400 || status === 413 || status === 422) && outcome.complete && saysPromptIsTooLong(outcome.held)
}

const errorsForFallback = new Set(["NoHealthyBackend", "QueueFull", "QueueTimeout", "UpstreamError"])

/** Too many requests, unavailable, and Anthropic's own word for overloaded. */
export const isOverload = (status: number): boolean => status === 429 || status === 503 || status === 529

/** Another model is asked for the same thing: that must do no harm, where a backend may have done it already. */
const mayFallBack = (plan: RequestPlan, attempts: number): boolean =>
  !plan.route.isLast && (attempts === 0 || isRepeatable(plan, undefined))

const noHints = { session: undefined, hashKey: undefined, prompt: undefined, tried: [] }

const emptyBody = new Uint8Array(0)

const routeRequest = (request: ProxyRequest, model: string | undefined): RouteRequest => {
  const { key, listener, path, payload, report, snapshot } = request
  return { snapshot, listener, key, path, model, other: payload.envelope?.other, now: report.receivedAt }
}

const decodeSpan = Schema.decodeUnknownOption(Span)

/** Milliseconds; `Infinity` where the client sets no deadline. */
const readTimeout = (header: string | undefined): Result.Result<number, InvalidRequest> => {
  if (header === undefined) return noTimeout
  const span = decodeSpan(header)
  return span._tag === "Some" && Duration.toMillis(span.value) > 0
    ? Result.succeed(Duration.toMillis(span.value))
    : Result.fail(new InvalidRequest({ message: "X-Weir-Timeout must be a duration such as 500ms, 30s or 5m." }))
}

const noTimeout = Result.succeed(Number.POSITIVE_INFINITY)

const noTools = ({ outline }: Envelope): ToolsNotSupported =>
  new ToolsNotSupported({
    message: "This model cannot call tools: ask another one, or leave the tools and the calls in the messages out.",
    param: outline.has("tools") ? "tools" : outline.has("functions") ? "functions" : "messages"
  })
