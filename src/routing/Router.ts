/** From a listener, a path and a model to the pool and the candidates that may serve the request. */
import { Context, Effect, Layer, Result } from "effect"
import { memoize } from "effect/Function"
import { type ApiKey, allows, isLimited } from "../domain/ApiKey.ts"
import {
  type GatewayError,
  ModelNotAllowed,
  ModelNotFound,
  NoHealthyBackend,
  NotFound,
  PoolNotAllowed
} from "../domain/Errors.ts"
import type { ModelInfo } from "../domain/Health.ts"
import type { Listener } from "../domain/Listener.ts"
import type { ModelRule } from "../domain/ModelRule.ts"
import { readGptOssName } from "../protocol/GptOssName.ts"
import { type PoolEntry, Registry, type Snapshot } from "../registry/Registry.ts"
import { quoted } from "../telemetry/Telemetry.ts"
import { type Candidates, CandidateTable, makeCandidates } from "./Candidates.ts"
import { listModels, type Presence } from "./ModelCatalog.ts"
import { RoutingTable } from "./RoutingTable.ts"

export type { Candidates } from "./Candidates.ts"
export { type PathRouter, pathRouterOf } from "./PathRouter.ts"

export interface RouteRequest {
  readonly snapshot: Snapshot
  readonly listener: Listener
  readonly key: ApiKey | undefined
  /** Without the query. */
  readonly path: string
  /** As the client named it; `undefined` for what is routed by path alone. */
  readonly model: string | undefined
  /** Another one that the request names and that an engine might go by. */
  readonly other?: string | undefined
  /** Monotonic milliseconds. */
  readonly now: number
}

export interface Route {
  readonly pool: PoolEntry
  readonly candidates: Candidates
  /** What backends are asked for; where instances are asked, the lease knows which. */
  readonly model: string | undefined
  /** The rule that matched. */
  readonly rule: ModelRule | undefined
  /** Models that may be asked for instead, should this way lead to nothing. */
  readonly fallbacks: ReadonlyArray<string>
  /** Whether this is the way to the fallback backend, behind which there is no other. */
  readonly isLast: boolean
}

export class Router extends Context.Service<
  Router,
  {
    /** Where a request goes: the pool, and those of its members that may serve it. */
    readonly route: (request: RouteRequest) => Result.Result<Route, GatewayError>
    /** Another way for a request whose way led to nothing: the next model of its rule, then the fallback backend. */
    readonly fallback: (request: RouteRequest, before: Route) => Route | undefined
    /** What clients of a listener (with a key) can ask for, each name once. */
    readonly models: (
      snapshot: Snapshot,
      listener: Listener,
      key: ApiKey | undefined,
      presence?: Presence
    ) => ReadonlyArray<ModelInfo>
  }
>()("weir/routing/Router") {
  static readonly layer = Layer.effect(
    Router,
    Effect.gen(function* () {
      const registry = yield* Registry
      const table = new CandidateTable(registry.modelsVersion)
      // A request finishes on the snapshot that it began with, so there may be more than one.
      const routingOf = memoize((snapshot: Snapshot) => new RoutingTable(snapshot))
      return Router.of({
        route: (request) => route(table, routingOf(request.snapshot), request),
        fallback: (request, before) => fallback(table, routingOf(request.snapshot), request, before),
        models: (snapshot, listener, key, presence = "served") => {
          const routing = routingOf(snapshot)
          const poolOf = (path: string) => routing.poolByPath(listener, path)
          return listModels(snapshot, listener, key, presence, poolOf, (path, model) => {
            return Result.getOrUndefined(route(table, routing, { snapshot, listener, key, path, model, now: 0 }))
          })
        }
      })
    })
  )
}

/**
 * A path route decides before a model rule, and a model rule before the listener's own pool. Where none of the
 * candidates has the model: the rule's fallbacks in their order, then the backend of last resort.
 */
const route = (
  table: CandidateTable,
  routing: RoutingTable,
  request: RouteRequest
): Result.Result<Route, GatewayError> => {
  const { key, model, other } = request
  if (key !== undefined && other !== undefined && !allows(key.models, other)) return Result.fail(modelNotAllowed(other))
  if (key !== undefined && !(model === undefined ? !isLimited(key.models) : allows(key.models, model))) {
    return Result.fail(modelNotAllowed(model))
  }
  const rule = ruleFor(routing, model)
  const fallbacks = rule?.fallbacks ?? []
  const own = routeTo(table, routing, request, model, rule, fallbacks)
  if (Result.isFailure(own)) return Result.fail(own.failure)
  const found = own.success ?? firstOf(table, routing, request, fallbacks)
  if (found !== undefined) return Result.succeed(found)
  const last = routing.lastResort(poolFor(routing, request, rule))
  if (last === undefined) return Result.fail(notFound(routing, request, rule))
  if (key !== undefined && !allows(key.pools, last.name)) return Result.fail(poolNotAllowed())
  return Result.succeed(lastRoute(last, makeCandidates(last.members), model))
}

const lastRoute = (pool: PoolEntry, candidates: Candidates, model: string | undefined): Route => ({
  pool,
  candidates,
  model,
  rule: undefined,
  fallbacks: [],
  isLast: true
})

/** Another way for a request whose way led to nothing: the next model that may be asked for instead, then the fallback backend. */
const fallback = (
  table: CandidateTable,
  routing: RoutingTable,
  request: RouteRequest,
  before: Route
): Route | undefined => {
  const { key, model } = request
  if (before.isLast) return undefined
  const next = firstOf(table, routing, request, before.fallbacks)
  if (next !== undefined || model === undefined) return next
  const last = routing.lastResort(poolFor(routing, request, ruleFor(routing, model)))
  if (last === undefined || (key !== undefined && !allows(key.pools, last.name))) return undefined
  const candidates = table.forModel(last, model)
  const isNew = candidates.all.some(({ backend }) => before.candidates.all.every((other) => other.backend !== backend))
  return isNew ? lastRoute(last, candidates, model) : undefined
}

/**
 * The first of the models that may be asked for instead which a backend has. That the key may use them is not asked
 * again: the rule lets them stand for a model that it may use.
 */
const firstOf = (
  table: CandidateTable,
  routing: RoutingTable,
  request: RouteRequest,
  models: ReadonlyArray<string>
): Route | undefined => {
  for (const [index, model] of models.entries()) {
    const found = routeTo(table, routing, request, model, ruleFor(routing, model), models.slice(index + 1))
    if (Result.isSuccess(found) && found.success !== undefined) return found.success
  }
  return undefined
}

const ruleFor = (routing: RoutingTable, model: string | undefined): ModelRule | undefined =>
  model === undefined ? undefined : routing.rules.find(model)

const poolFor = (
  routing: RoutingTable,
  { listener, path, snapshot }: RouteRequest,
  rule: ModelRule | undefined
): PoolEntry | undefined => {
  const byPath = routing.poolByPath(listener, path)
  if (byPath !== undefined) return byPath
  const base = listener.pool === undefined ? undefined : snapshot.pools.get(listener.pool)
  return routing.poolOfRule(rule, base)
}

/** `undefined`: nothing serves it. */
const routeTo = (
  table: CandidateTable,
  routing: RoutingTable,
  request: RouteRequest,
  model: string | undefined,
  rule: ModelRule | undefined,
  fallbacks: ReadonlyArray<string>
): Result.Result<Route | undefined, PoolNotAllowed> => {
  const { key } = request
  const pool = poolFor(routing, request, rule)
  if (pool === undefined) return nowhere
  if (key !== undefined && !allows(key.pools, pool.name)) return Result.fail(poolNotAllowed())
  const upstream = model === undefined ? undefined : upstreamOf(rule, model)
  const candidates = table.forModel(pool, upstream, rule?.instances)
  // A pool without a backend to ask is another trouble than a model that no backend has.
  const isDeserted = pool.members.every(({ backend }) => !backend.config.enabled)
  return candidates.all.length > 0 || isDeserted
    ? Result.succeed({ pool, candidates, model: upstream, rule, fallbacks, isLast: false })
    : nowhere
}

const nowhere = Result.succeed(undefined)

/** The name that backends have a model under. */
const upstreamOf = (rule: ModelRule | undefined, model: string): string =>
  rule?.upstreamModel ?? (rule?.gptOss === true ? readGptOssName(model).model : model)

const modelNotAllowed = (model: string | undefined): ModelNotAllowed =>
  model === undefined
    ? new ModelNotAllowed({
        message: "This key may use some models only, and this request names none that can be checked.",
        param: "model"
      })
    : new ModelNotAllowed({ message: `This key may not use the model ${quoted(model)}.`, param: "model" })

const poolNotAllowed = () => new PoolNotAllowed({ message: "This key may not be used here." })

const notFound = (routing: RoutingTable, request: RouteRequest, rule: ModelRule | undefined): GatewayError => {
  const { model, now } = request
  if (model === undefined) return new NotFound({ message: "Nothing is served at this path." })
  const members = poolFor(routing, request, rule)?.members ?? []
  const upstream = upstreamOf(rule, model)
  const isBackSoon = members.some(({ backend: { config, models, state } }) => {
    return config.enabled && models === undefined && state.hadModel(upstream, now)
  })
  return isBackSoon
    ? new NoHealthyBackend({ message: `No backend has the model ${quoted(model)} at the moment.`, retryAfter: 5 })
    : new ModelNotFound({ message: `The model ${quoted(model)} does not exist.`, param: "model" })
}
