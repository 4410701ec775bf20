/** From a listener and a model to the pool and the candidates that may serve the request. */
import { type ApiKey, allows } from "../domain/ApiKey.ts"
import { type GatewayError, ModelNotAllowed, ModelNotFound, NotFound, PoolNotAllowed } from "../domain/Errors.ts"
import type { Listener } from "../domain/Listener.ts"
import { implicitPool } from "../domain/Pool.ts"
import { type PoolEntry, type Snapshot, toMember } from "../registry/Registry.ts"
import { type Candidates, type CandidateTable, makeCandidates } from "./Candidates.ts"

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
  /** The model to ask the backend for, where it is not the one that the client named. */
  readonly upstreamModel: string | undefined
}

export const route = (table: CandidateTable, request: RouteRequest): Route | GatewayError => {
  const { key, listener, model, snapshot } = request
  if (model !== undefined && key !== undefined && !allows(key.models, model)) {
    return new ModelNotAllowed({ message: `This key may not use the model ${quoted(model)}.`, param: "model" })
  }
  const pool = listener.pool === undefined ? undefined : snapshot.pools.get(listener.pool)
  if (pool !== undefined && key !== undefined && !allows(key.pools, pool.name)) {
    return new PoolNotAllowed({ message: "This key may not be used here." })
  }
  if (pool !== undefined) {
    const candidates = table.forModel(pool, model)
    // A pool without anybody to ask is another trouble than a model that nobody has.
    const isDeserted = pool.members.every(({ backend }) => !backend.config.enabled)
    if (candidates.all.length > 0 || isDeserted) return { pool, candidates, upstreamModel: undefined }
  }
  return fallback(snapshot, pool) ?? notFound(model)
}

/** The backend of last resort, with the settings of the pool that would have been asked. */
const fallback = (snapshot: Snapshot, asked: PoolEntry | undefined): Route | undefined => {
  const name = snapshot.config.fallbackBackend
  if (name === undefined) return undefined
  const pool = asked ?? { name: implicitPool.name, config: implicitPool, members: [] }
  const members = toMember(name, pool.config, snapshot.backends)
  return { pool, candidates: makeCandidates(members), upstreamModel: undefined }
}

const notFound = (model: string | undefined): GatewayError =>
  model === undefined
    ? new NotFound({ message: "Nothing is served at this path." })
    : new ModelNotFound({ message: `The model ${quoted(model)} does not exist.`, param: "model" })

/** A name from outside, fit to be shown: short, and in one line. */
const quoted = (model: string): string => JSON.stringify(model.length > 120 ? `${model.slice(0, 120)}…` : model)
