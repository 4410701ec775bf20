/** Which instance of a model is asked, where a backend has several: each has a slot, and so a cache, of its own. */
import type { Member } from "../registry/Registry.ts"
import type { Candidates } from "../routing/Router.ts"
import type { AffinityTarget } from "./Affinity.ts"
import type { PickRequest } from "./Eligibility.ts"

/** Whether one of a model's instances at a backend has no request. */
export const hasFree = ({ backend: { state } }: Member, instances: NonNullable<Candidates["instances"]>): boolean =>
  instances.get(state)?.some((name) => !state.instances.has(name)) ?? false

/**
 * The first that is free and has no session's prompt in its cache, else the free one whose session was away for the longest,
 * else the one with the least to do.
 */
export const instanceFor = (
  { backend: { name: backend, state } }: Member,
  { candidates }: PickRequest,
  heldUntil: (place: AffinityTarget) => number | undefined
): string | undefined => {
  let free: string | undefined
  let freeUntil = Number.POSITIVE_INFINITY
  let least: string | undefined
  for (const instance of candidates.instances?.get(state) ?? []) {
    const count = state.instances.get(instance) ?? 0
    if (count > 0) {
      if (least === undefined || count < (state.instances.get(least) ?? 0)) least = instance
      continue
    }
    const until = heldUntil({ backend, instance })
    if (until === undefined) return instance
    if (until < freeUntil) {
      free = instance
      freeUntil = until
    }
  }
  return free ?? least
}
