/** Which backends may serve a model: worked out once for each model of a pool, and again when what backends serve has changed. */
import type { BackendState, Member, PoolEntry } from "../registry/Registry.ts"
import { instancesOf } from "./Instances.ts"

/** Members that may serve a request, by priority tier (lower first), each tier in configured order. */
export interface Candidates {
  readonly tiers: ReadonlyArray<ReadonlyArray<Member>>
  readonly all: ReadonlyArray<Member>
  /** Where a model has instances: the names that each backend has it under, in the order in which they are taken. */
  readonly instances: ReadonlyMap<BackendState, ReadonlyArray<string>> | undefined
}

const maxRememberedNames = 1024

/** Longer than the name of any real model: what is longer is worked out each time, and costs no memory. */
const maxRememberedChars = 256

/** One table for the registry's whole life; stale entries go when models or the snapshot change. */
export class CandidateTable {
  readonly #modelsVersion: () => number
  #version = -1
  #plain = new WeakMap<PoolEntry, Map<string, Candidates>>()
  #withInstances = new WeakMap<PoolEntry, Map<string, Candidates>>()

  constructor(modelsVersion: () => number) {
    this.#modelsVersion = modelsVersion
  }

  /**
   * The members that list `model` (or, with `instances`, an instance of it), or whose models are not known; all members
   * where no model is asked for.
   */
  forModel(pool: PoolEntry, model: string | undefined, instances = false): Candidates {
    const version = this.#modelsVersion()
    if (version !== this.#version) {
      this.#version = version
      this.#plain = new WeakMap()
      this.#withInstances = new WeakMap()
    }
    const byPool = instances ? this.#withInstances : this.#plain
    let byModel = byPool.get(pool)
    if (byModel === undefined) {
      byModel = new Map()
      byPool.set(pool, byModel)
    }
    const key = model ?? ""
    const known = byModel.get(key)
    if (known !== undefined) return known
    const candidates = workOut(pool.members, model, instances)
    // Names come from clients: the table must not grow with their imagination.
    if (key.length > maxRememberedChars) return candidates
    if (byModel.size >= maxRememberedNames) byModel.clear()
    byModel.set(key, candidates)
    return candidates
  }
}

const workOut = (members: ReadonlyArray<Member>, model: string | undefined, instances: boolean): Candidates => {
  if (model === undefined) return makeCandidates(members)
  if (!instances) return makeCandidates(members.filter((member) => mayServe(member, model)))
  const names = new Map<BackendState, ReadonlyArray<string>>()
  for (const member of members) {
    const { backend } = member
    if (!backend.config.enabled) continue
    const found = instancesOf(modelsOf(member) ?? [model], model)
    if (found.length > 0) names.set(backend.state, found)
  }
  return { ...makeCandidates(members.filter(({ backend }) => names.has(backend.state))), instances: names }
}

export const makeCandidates = (members: ReadonlyArray<Member>): Candidates => {
  const priorities = [...new Set(members.map(({ priority }) => priority))].toSorted((a, b) => a - b)
  const tiers = priorities.map((tier) => members.filter(({ priority }) => priority === tier))
  return { all: members, tiers, instances: undefined }
}

/** Configured models decide; without them what discovery found; `undefined`: not known. */
const modelsOf = ({ backend }: Member): Iterable<string> | undefined => backend.models ?? backend.state.models?.keys()

/** Without any knowledge of its models, anything may be tried. */
const mayServe = ({ backend }: Member, model: string): boolean => {
  if (!backend.config.enabled) return false
  if (backend.models !== undefined) return backend.models.has(model)
  return backend.state.models?.has(model) ?? true
}
