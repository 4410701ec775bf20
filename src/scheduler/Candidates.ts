/** Who may serve a model: worked out once for each model of a pool, and again when what backends serve has changed. */
import type { Member, PoolEntry } from "../registry/Registry.ts"

/** Members that may serve a request, by priority tier (lower first), each tier in configured order. */
export interface Candidates {
  readonly tiers: ReadonlyArray<ReadonlyArray<Member>>
  readonly all: ReadonlyArray<Member>
}

const remembered = 1024

/** Longer than the name of any real model: what is longer is worked out each time, and costs no memory. */
const longestRemembered = 256

/** One table for the registry's whole life; stale entries go when models or the snapshot change. */
export class CandidateTable {
  readonly #modelsVersion: () => number
  #version = -1
  #byPool = new WeakMap<PoolEntry, Map<string, Candidates>>()

  constructor(modelsVersion: () => number) {
    this.#modelsVersion = modelsVersion
  }

  /** The members that list `model`, or whose models are not known; all members where no model is asked for. */
  forModel(pool: PoolEntry, model: string | undefined): Candidates {
    const version = this.#modelsVersion()
    if (version !== this.#version) {
      this.#version = version
      this.#byPool = new WeakMap()
    }
    let byModel = this.#byPool.get(pool)
    if (byModel === undefined) {
      byModel = new Map()
      this.#byPool.set(pool, byModel)
    }
    const key = model ?? ""
    const known = byModel.get(key)
    if (known !== undefined) return known
    const candidates = makeCandidates(
      model === undefined ? pool.members : pool.members.filter((m) => mayServe(m, model))
    )
    // Names come from clients: the table must not grow with their imagination.
    if (key.length > longestRemembered) return candidates
    if (byModel.size >= remembered) byModel.clear()
    byModel.set(key, candidates)
    return candidates
  }
}

export const makeCandidates = (members: ReadonlyArray<Member>): Candidates => {
  const priorities = [...new Set(members.map(({ priority }) => priority))].toSorted((a, b) => a - b)
  return { all: members, tiers: priorities.map((tier) => members.filter(({ priority }) => priority === tier)) }
}

/** Configured models decide; without them what discovery found; without that, anything may be tried. */
const mayServe = ({ backend }: Member, model: string): boolean => {
  if (!backend.config.enabled) return false
  if (backend.models !== undefined) return backend.models.has(model)
  return backend.state.models?.has(model) ?? true
}
