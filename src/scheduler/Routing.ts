/** From a listener, a path and a model to the pool and the candidates that may serve the request. */
import { type ApiKey, allows, isLimited } from "../domain/ApiKey.ts"
import { type GatewayError, ModelNotAllowed, ModelNotFound, NotFound, PoolNotAllowed } from "../domain/Errors.ts"
import { readGptOssName } from "../domain/GptOss.ts"
import type { Listener } from "../domain/Listener.ts"
import type { ModelRule } from "../domain/ModelRule.ts"
import type { PoolEntry, Snapshot } from "../registry/Registry.ts"
import { quoted } from "../telemetry/Telemetry.ts"
import { type Candidates, type CandidateTable, makeCandidates } from "./Candidates.ts"
import type { RoutingTable } from "./RoutingTable.ts"

export interface RouteRequest {
  readonly snapshot: Snapshot
  readonly listener: Listener
  readonly key: ApiKey | undefined
  /** Without the query. */
  readonly path: string
  /** As the client named it; `undefined` for what is routed by path alone. */
  readonly model: string | undefined
}

export interface Route {
  readonly pool: PoolEntry
  readonly candidates: Candidates
  /** What backends are asked for; where instances are asked, the lease knows which. */
  readonly model: string | undefined
  /** The rule that matched. */
  readonly rule: ModelRule | undefined
  /** Models that may be asked for instead, should this way lead to nothing. */
  readonly alternatives: ReadonlyArray<string>
}

/**
 * A path route decides before a model rule, and a model rule before the listener's own pool. Where none of the
 * candidates has the model: the rule's fallbacks in their order, then the backend of last resort.
 */
export const route = (table: CandidateTable, routing: RoutingTable, request: RouteRequest): Route | GatewayError => {
  const { key, model } = request
  if (key !== undefined && !(model === undefined ? !isLimited(key.models) : allows(key.models, model))) {
    return modelNotAllowed(model)
  }
  const alternatives = (model === undefined ? undefined : routing.rules.find(model)?.fallbacks) ?? []
  const own = routeTo(table, routing, request, model, alternatives)
  if (own instanceof PoolNotAllowed) return own
  if (own !== undefined) return own
  const stand = standIn(table, routing, request, alternatives)
  if (stand !== undefined) return stand
  const asked = poolFor(routing, request, model)
  const last = routing.lastResort(asked)
  if (last === undefined) return notFound(model)
  if (key !== undefined && !allows(key.pools, last.name)) return poolNotAllowed()
  return { pool: last, candidates: makeCandidates(last.members), model, rule: undefined, alternatives: [] }
}

/**
 * The first of the models that may be asked for instead which somebody has. That the key may use them is not asked
 * again: whoever configured the rule lets them stand for a model that it may use.
 */
export const standIn = (
  table: CandidateTable,
  routing: RoutingTable,
  request: RouteRequest,
  models: ReadonlyArray<string>
): Route | undefined => {
  for (const [index, model] of models.entries()) {
    const found = routeTo(table, routing, request, model, models.slice(index + 1))
    if (found !== undefined && !(found instanceof PoolNotAllowed)) return found
  }
  return undefined
}

const poolFor = (
  routing: RoutingTable,
  { listener, path, snapshot }: RouteRequest,
  model: string | undefined
): PoolEntry | undefined => {
  const byPath = routing.poolByPath(listener, path)
  if (byPath !== undefined) return byPath
  const base = listener.pool === undefined ? undefined : snapshot.pools.get(listener.pool)
  return routing.poolOfRule(model === undefined ? undefined : routing.rules.find(model), base)
}

const routeTo = (
  table: CandidateTable,
  routing: RoutingTable,
  request: RouteRequest,
  model: string | undefined,
  alternatives: ReadonlyArray<string>
): Route | PoolNotAllowed | undefined => {
  const { key } = request
  const pool = poolFor(routing, request, model)
  if (pool === undefined) return undefined
  if (key !== undefined && !allows(key.pools, pool.name)) return poolNotAllowed()
  const rule = model === undefined ? undefined : routing.rules.find(model)
  const asked = model !== undefined && rule?.gptOss === true ? readGptOssName(model).model : model
  const upstream = rule?.upstreamModel ?? asked
  const candidates = table.forModel(pool, upstream, rule?.instances)
  // A pool without anybody to ask is another trouble than a model that nobody has.
  const isDeserted = pool.members.every(({ backend }) => !backend.config.enabled)
  return candidates.all.length > 0 || isDeserted ? { pool, candidates, model: upstream, rule, alternatives } : undefined
}

const modelNotAllowed = (model: string | undefined): ModelNotAllowed =>
  model === undefined
    ? new ModelNotAllowed({
        message: "This key may use some models only, and this request names none that can be checked.",
        param: "model"
      })
    : new ModelNotAllowed({ message: `This key may not use the model ${quoted(model)}.`, param: "model" })

const poolNotAllowed = () => new PoolNotAllowed({ message: "This key may not be used here." })

const notFound = (model: string | undefined): GatewayError =>
  model === undefined
    ? new NotFound({ message: "Nothing is served at this path." })
    : new ModelNotFound({ message: `The model ${quoted(model)} does not exist.`, param: "model" })
