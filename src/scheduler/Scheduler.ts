/** Which backend gets the next request. Synchronous throughout: between looking and counting nothing can come in. */
import { Context, Duration, Effect, Layer, Random } from "effect"
import type { StrategyName } from "../domain/Pool.ts"
import { type Member, type PoolEntry, Registry } from "../registry/Registry.ts"
import type { Candidates } from "../routing/Router.ts"
import { AffinityTable, type AffinityTarget } from "./Affinity.ts"
import {
  explain,
  isAskedLast,
  isOutstanding,
  isPresent,
  isUsable,
  lastResortAmong,
  type NoLease,
  type PickRequest,
  standingNow
} from "./Eligibility.ts"
import { Lease } from "./Lease.ts"
import { makeStrategy } from "./Strategies.ts"
import type { Strategy } from "./Strategy.ts"

export { isAskedLast, NoLease, type PickRequest } from "./Eligibility.ts"
export { Lease, type StickyOutcome } from "./Lease.ts"
export type { PromptBlocks } from "./PromptBlocks.ts"
export { type SelectionHints, selectionHintsFor } from "./SelectionHints.ts"

export class Scheduler extends Context.Service<
  Scheduler,
  {
    /** Chooses and counts in one step. `now`: monotonic milliseconds. */
    readonly pick: (request: PickRequest, now: number) => Lease | NoLease
    /**
     * The least bad of the candidates that are out for reasons that may be wrong: an open circuit, probes without an
     * answer, a rest that it did not ask for. At most three requests at once get it in this way; `undefined`: none is left.
     */
    readonly pickLastResort: (request: PickRequest, now: number) => Lease | undefined
    /** What `pick` would find, without choosing a backend. */
    readonly outlook: (request: PickRequest, now: number) => "ready" | NoLease
    /** Whether `pickLastResort` would find one. */
    readonly hasLastResort: (request: PickRequest, now: number) => boolean
  }
>()("weir/scheduler/Scheduler") {
  static readonly layer = Layer.effect(
    Scheduler,
    Effect.gen(function* () {
      const registry = yield* Registry
      const random = yield* Random.Random
      const draw = () => random.nextDoubleUnsafe()
      const isCurrent = ({ config, name }: PoolEntry): boolean => {
        const current = registry.current().pools.get(name)
        return current === undefined || current.config === config
      }
      // By pool name, so that cursors and sessions survive a new snapshot.
      const states = new Map<string, PoolState>()
      const stateOf = (pool: PoolEntry): PoolState => {
        const known = states.get(pool.name)
        // A request of an older snapshot takes what is there: it must not undo what the newer ones have begun.
        if (known !== undefined && (known.fits(pool) || !isCurrent(pool))) return known
        const made = new PoolState(pool, draw, known)
        states.set(pool.name, made)
        return made
      }
      return Scheduler.of({
        pick: (request, now) => stateOf(request.pool).pick(request, now),
        pickLastResort: (request, now) => {
          const member = lastResortAmong(request, now)
          return (
            member && new Lease(member, undefined, request.candidates.instances?.get(member.backend.state)?.[0], true)
          )
        },
        hasLastResort: (request, now) => lastResortAmong(request, now) !== undefined,
        outlook
      })
    })
  )
}

const outlook = (request: PickRequest, now: number): "ready" | NoLease =>
  request.candidates.all.some((member) => isUsable(member, request, now)) ? "ready" : explain(request, now)

/** What a pool remembers between choices. */
class PoolState {
  readonly #strategyName: StrategyName
  readonly #sticky: PoolEntry["config"]["sticky"]
  readonly #strategy: Strategy
  readonly #affinity: AffinityTable
  readonly #random: () => number

  /** `before`: the state of the same pool with other settings; its sessions stay, where they are kept as before. */
  constructor({ config }: PoolEntry, random: () => number, before: PoolState | undefined) {
    this.#random = random
    this.#strategyName = config.strategy
    this.#sticky = config.sticky
    this.#strategy = makeStrategy(config.strategy)
    const { maxEntries, ttl } = config.sticky
    this.#affinity = before?.keepsAs(config.sticky)
      ? before.#affinity
      : new AffinityTable(Duration.toMillis(ttl), maxEntries)
  }

  /** Whether a pool's settings still are those that this was made for. */
  fits({ config: { sticky, strategy } }: PoolEntry): boolean {
    return strategy === this.#strategyName && this.keepsAs(sticky)
  }

  keepsAs(sticky: PoolEntry["config"]["sticky"]): boolean {
    return (
      sticky === this.#sticky ||
      (Duration.equals(sticky.ttl, this.#sticky.ttl) && sticky.maxEntries === this.#sticky.maxEntries)
    )
  }

  pick(request: PickRequest, now: number): Lease | NoLease {
    const { session } = request
    const known = session === undefined ? undefined : this.#affinity.lookup(session, now)
    const preferred = known === undefined ? undefined : preferredBy(known, request, now)
    const chosen = preferred ?? this.#choose(request, now)
    if (chosen === undefined) return explain(request, now)
    chosen.backend.state.health.credentialTried(now)
    if (preferred !== undefined) this.#strategy.routed?.(preferred, request.prompt)
    const instance =
      preferred !== undefined && request.candidates.instances !== undefined
        ? known?.instance
        : instanceFor(chosen, request, (place) => this.#affinity.heldUntil(place, now))
    if (session === undefined) return new Lease(chosen, undefined, instance)
    const place: AffinityTarget = { backend: chosen.backend.name, instance }
    this.#affinity.bind(session, place, instance !== undefined || chosen.capacity === 1, now)
    const stays = known?.backend === place.backend && known.instance === instance
    return new Lease(chosen, known === undefined ? "miss" : stays ? "hit" : "moved", instance)
  }

  /** Tier by tier among those in good standing, then tier by tier among those that are asked last. */
  #choose(request: PickRequest, now: number): Member | undefined {
    const { instances, tiers } = request.candidates
    for (const standing of ["first", "last"] as const) {
      const usable = (member: Member) =>
        standingNow(member, request, now) === standing && isUsable(member, request, now)
      const choice = { now, random: this.#random, hashKey: request.hashKey, prompt: request.prompt, usable }
      for (const tier of tiers) {
        const member =
          (instances &&
            this.#strategy.choose(tier, { ...choice, usable: (m) => usable(m) && hasFree(m, instances) })) ??
          this.#strategy.choose(tier, choice)
        if (member !== undefined) return member
      }
    }
    return undefined
  }
}

/**
 * The session's backend, if it can take the request and is not far busier than the others of its tier. No session
 * keeps a tier in use that is only there for when the ones before it have nobody left.
 */
const preferredBy = ({ backend, instance }: AffinityTarget, request: PickRequest, now: number): Member | undefined => {
  const { candidates, pool } = request
  const member = candidates.all.find((each) => each.backend.name === backend)
  if (member === undefined || !isUsable(member, request, now)) return undefined
  const { instances, tiers } = candidates
  // The instance may be gone; or the model has instances since then, or has them no more.
  if (instances !== undefined && instances.get(member.backend.state)?.includes(instance ?? "") !== true)
    return undefined
  for (const tier of tiers) {
    if (!tier.includes(member)) {
      if (tier.some((other) => isUsable(other, request, now))) return undefined
      continue
    }
    // While somebody else holds the session's instance, a free one is better.
    const isTaken = instance !== undefined && member.backend.state.instances.has(instance)
    if (isAskedLast(member, request, now) && tier.some((other) => isOutstanding(other, request, now))) return undefined
    const isFree = (other: Member) =>
      instances !== undefined && isUsable(other, request, now) && hasFree(other, instances)
    if (isTaken && tier.some(isFree)) return undefined
    return isOverloaded(member, tier, pool.config.sticky.maxImbalance, now) ? undefined : member
  }
  return undefined
}

const hasFree = ({ backend: { state } }: Member, instances: NonNullable<Candidates["instances"]>): boolean =>
  instances.get(state)?.some((name) => !state.instances.has(name)) ?? false

/**
 * The first that is free and has nobody's prompt in its cache, else the free one whose session was away for the longest,
 * else the one with the least to do.
 */
const instanceFor = (
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

/** Requests beyond the fair share: on a quiet pool every count is far from the mean, and a move costs the cache. */
const neverTooMany = 2

/**
 * More than `maxImbalance` times its fair share of what is in flight among those of its tier that share the work now,
 * and {@link neverTooMany} on top: below that nobody else need be looked at.
 */
const isOverloaded = (member: Member, tier: ReadonlyArray<Member>, maxImbalance: number, now: number): boolean => {
  if (member.backend.state.inflight + 1 <= neverTooMany) return false
  let inflight = 1
  let weight = 0
  for (const other of tier) {
    if (!isPresent(other, now)) continue
    inflight += other.backend.state.inflight
    weight += other.weight
  }
  return member.backend.state.inflight + 1 > (maxImbalance * inflight * member.weight) / weight + neverTooMany
}
