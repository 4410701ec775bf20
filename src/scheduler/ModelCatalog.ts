/** Which models exist for a client: the union over the backends that it can reach. */
import { type ApiKey, allows } from "../domain/ApiKey.ts"
import type { ModelInfo } from "../domain/Health.ts"
import type { Listener } from "../domain/Listener.ts"
import type { BackendEntry, Snapshot } from "../registry/Registry.ts"

/** Sorted by name. No backend is asked: what discovery found last is told, so that a dead one cannot make it fail. */
export const listModels = (
  snapshot: Snapshot,
  listener: Listener,
  key: ApiKey | undefined
): ReadonlyArray<ModelInfo> => {
  const found = new Map<string, ModelInfo>()
  for (const backend of reachable(snapshot, listener, key)) {
    for (const model of modelsOf(backend)) if (!found.has(model.id)) found.set(model.id, model)
  }
  return [...found.values()]
    .filter(({ id }) => key === undefined || allows(key.models, id))
    .toSorted((a, b) => (a.id < b.id ? -1 : 1))
}

const reachable = (
  { backends, config, pools }: Snapshot,
  listener: Listener,
  key: ApiKey | undefined
): ReadonlySet<BackendEntry> => {
  const names = [listener.pool, ...listener.routes.map(({ pool }) => pool)]
  const found = new Set<BackendEntry>()
  for (const name of names) {
    const pool = name === undefined ? undefined : pools.get(name)
    if (pool === undefined || (key !== undefined && !allows(key.pools, pool.name))) continue
    for (const { backend } of pool.members) if (backend.config.enabled) found.add(backend)
  }
  const last = config.fallbackBackend === undefined ? undefined : backends.get(config.fallbackBackend)
  return last?.config.enabled === true ? found.add(last) : found
}

/** Without the numbered instances of a model that the same backend has under its plain name too. */
const modelsOf = ({ models, state }: BackendEntry): ReadonlyArray<ModelInfo> => {
  const discovered = state.models
  const ids = models ?? new Set(discovered?.keys())
  return [...ids]
    .filter((id) => {
      const base = /^(.+)-([2-9]|[1-9]\d+)$/.exec(id)?.[1]
      return base === undefined || !ids.has(base)
    })
    .map((id) => discovered?.get(id) ?? { id, created: 0, ownedBy: "weir" })
}
