/** What routing looks up, made ready once for each snapshot: rules, routes, and pools that exist for one rule only. */
import type { Listener } from "../domain/Listener.ts"
import type { ModelRule } from "../domain/ModelRule.ts"
import { implicitPool } from "../domain/Pool.ts"
import { type PoolEntry, type Snapshot, toMember } from "../registry/Registry.ts"
import { ModelRules } from "./ModelRules.ts"
import { type PathRouter, pathRouterOf } from "./PathRouter.ts"

/** What is worked with where no pool is meant, and none is called `default`. */
const noPool: PoolEntry = { name: implicitPool.name, config: implicitPool, members: [] }

export class RoutingTable {
  readonly snapshot: Snapshot
  readonly rules: ModelRules
  readonly #routers = new Map<Listener, PathRouter<string> | undefined>()
  readonly #rulePools = new Map<ModelRule, Map<PoolEntry | undefined, PoolEntry>>()
  readonly #lastResorts = new Map<PoolEntry | undefined, PoolEntry>()

  constructor(snapshot: Snapshot) {
    this.snapshot = snapshot
    this.rules = new ModelRules(snapshot.config.models)
  }

  /** The pool of the listener's best route for a path. */
  poolByPath(listener: Listener, path: string): PoolEntry | undefined {
    if (listener.routes.length === 0) return undefined
    const name = this.#routerOf(listener)?.find(path)
    return name === undefined ? undefined : this.snapshot.pools.get(name)
  }

  #routerOf(listener: Listener): PathRouter<string> | undefined {
    if (this.#routers.has(listener)) return this.#routers.get(listener)
    const router = pathRouterOf(listener.routes.map(({ path, pool }) => [path, pool]))
    this.#routers.set(listener, router)
    return router
  }

  /**
   * Where a rule sends its models. One with a list of backends of its own works with the settings of the pool that
   * would have been asked without it; a backend that is a member there keeps its weight.
   */
  poolOfRule(rule: ModelRule | undefined, base: PoolEntry | undefined): PoolEntry | undefined {
    if (rule?.pool !== undefined) return this.snapshot.pools.get(rule.pool)
    if (rule?.backends === undefined) return base
    const byBase = this.#rulePools.get(rule) ?? new Map<PoolEntry | undefined, PoolEntry>()
    this.#rulePools.set(rule, byBase)
    const known = byBase.get(base)
    if (known !== undefined) return known
    const made = this.#poolOf(rule.backends, base)
    byBase.set(base, made)
    return made
  }

  /** The backend of last resort, with the settings of the pool that would have been asked. */
  lastResort(asked: PoolEntry | undefined): PoolEntry | undefined {
    const name = this.snapshot.config.fallbackBackend
    if (name === undefined) return undefined
    const known = this.#lastResorts.get(asked)
    if (known !== undefined) return known
    const made = this.#poolOf([name], asked)
    this.#lastResorts.set(asked, made)
    return made
  }

  #poolOf(names: ReadonlyArray<string>, base: PoolEntry | undefined): PoolEntry {
    const { config, members, name } = base ?? this.snapshot.pools.get(implicitPool.name) ?? noPool
    return {
      name,
      config,
      members: names.flatMap((backend) => {
        const member = members.find((each) => each.backend.name === backend)
        return member === undefined ? toMember(backend, config, this.snapshot.backends) : [{ ...member, priority: 0 }]
      })
    }
  }
}
