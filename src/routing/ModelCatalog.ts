/** Which models exist for a client: those for which a request would find a backend that is known to have them. */
import { type ApiKey, allows } from "../domain/ApiKey.ts"
import type { ModelInfo } from "../domain/Health.ts"
import type { Listener } from "../domain/Listener.ts"
import { literalName } from "../domain/ModelRule.ts"
import { endpointPaths } from "../protocol/Endpoint.ts"
import type { BackendEntry, PoolEntry, Snapshot } from "../registry/Registry.ts"
import { isNumberedInstance } from "./Instances.ts"
import type { Route } from "./Router.ts"

/** `served`: what is there to be asked for; `resident`: what is in memory, or may be where an engine does not tell. */
export type Presence = "served" | "resident"

/**
 * Sorted by name; `find` is the routing that requests go through. No backend is asked: what discovery found last is told,
 * so that a dead one cannot make it fail.
 */
export const listModels = (
  snapshot: Snapshot,
  listener: Listener,
  key: ApiKey | undefined,
  presence: Presence,
  poolOf: (path: string) => PoolEntry | undefined,
  find: (path: string, model: string) => Route | undefined
): ReadonlyArray<ModelInfo> => {
  const asked = listener.routes.length === 0 ? endpointPaths.slice(0, 1) : oneForEach(endpointPaths, poolOf)
  const infoOf = (model: string): ModelInfo | undefined => {
    if (key !== undefined && !allows(key.models, model)) return undefined
    for (const path of asked) {
      const route = find(path, model)
      const info = route === undefined ? undefined : toldBy(route, presence)
      if (info !== undefined) return { ...info, id: model }
    }
    return undefined
  }
  return [...namesOf(snapshot)]
    .toSorted()
    .map(infoOf)
    .filter((info) => info !== undefined)
}

/** The first of the paths for each of the pools that a listener's routes send them to. */
const oneForEach = (
  paths: ReadonlyArray<string>,
  poolOf: (path: string) => PoolEntry | undefined
): ReadonlyArray<string> => {
  const firsts = new Map<PoolEntry | undefined, string>()
  for (const path of paths) {
    const pool = poolOf(path)
    if (!firsts.has(pool)) firsts.set(pool, path)
  }
  return [...firsts.values()]
}

/** Every name that could be asked for: what backends have, and what rules call it. */
const namesOf = ({ backends, config }: Snapshot): ReadonlySet<string> => {
  const names = new Set<string>()
  for (const backend of backends.values()) {
    if (!backend.config.enabled) continue
    const ids = idsOf(backend)
    for (const id of ids) if (!isNumberedInstance(id, ids)) names.add(id)
  }
  for (const { fallbacks, match, upstreamModel } of config.models) {
    const alias = upstreamModel === undefined && fallbacks.length === 0 ? undefined : literalName(match)
    if (alias !== undefined) names.add(alias)
  }
  return names
}

const idsOf = ({ models, state }: BackendEntry): ReadonlySet<string> => models ?? new Set(state.models?.keys())

/** What the first of the candidates that is known to have the model says of it; one that may have anything says nothing. */
const toldBy = ({ candidates: { all, instances }, model }: Route, presence: Presence): ModelInfo | undefined => {
  if (model === undefined) return undefined
  for (const { backend } of all) {
    if (!backend.config.enabled) continue
    const ids = idsOf(backend)
    const id = ids.has(model) ? model : instances?.get(backend.state)?.find((name) => ids.has(name))
    if (id !== undefined && (presence === "served" || isResident(backend, id)))
      return backend.state.models?.get(id) ?? { id, created: 0, ownedBy: "weir" }
  }
  return undefined
}

const isResident = ({ state }: BackendEntry, id: string): boolean => {
  const resident = state.load?.residentModels
  return resident === undefined || resident.some((name) => name === id || name === `${id}:latest`)
}
