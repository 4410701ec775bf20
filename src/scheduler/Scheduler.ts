/** Which backend gets the next request. Synchronous throughout: between looking and counting nothing can come in. */
import { Context, Duration, Effect, Layer, Random } from "effect"
import type { Standing } from "../domain/Health.ts"
import type { StrategyName } from "../domain/Pool.ts"
import { Capacity, forgetGone, type Member, type PoolEntry, Registry } from "../registry/Registry.ts"
import { AffinityTable, type AffinityTarget } from "./Affinity.ts"
import {
  type AskedLast,
  askedLastFor,
  Eligibility,
  isAskedLast,
  isPresent,
  NoLease,
  type PickRequest,
  standingNow
} from "./Eligibility.ts"
import type { Exclusion } from "./Exclusions.ts"
import { hasFree, instanceFor } from "./InstanceChoice.ts"
import { Lease, type LeaseOptions } from "./Lease.ts"
import { makeStrategy } from "./Strategies.ts"
import type { Choice, Strategy } from "./Strategy.ts"

export { type AskedLast, isAskedLast, NoLease, type PickRequest } from "./Eligibility.ts"
export type { Exclusion } from "./Exclusions.ts"
export { Lease, type StickyOutcome } from "./Lease.ts"
export type { PromptBlocks } from "./PromptBlocks.ts"
export { type SelectionHints, selectionHintsFor } from "./SelectionHints.ts"

/** A backend of the pool, and what speaks against it or for it. */
export interface Considered {
  readonly backend: string
  /** Its configured priority: lower first. */
  readonly tier: number
  readonly standing: Standing
  /** Why it cannot be given the request; `undefined` where it can. `other_model`: it does not serve this one. */
  readonly exclusion: Exclusion | "other_model" | undefined
  /** Why it is asked after others; `undefined` where nothing but its tier and its score decides, or for another model. */
  readonly askedLast: AskedLast | undefined
  /** What the strategy compares it by within its tier, less being better; `undefined` where it compares it by no number. */
  readonly score: number | undefined
}

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
    /**
     * Every backend of the pool as a choice would look at it now, to tell why: the candidates by tier, then those that
     * do not serve the model. Off the path of requests.
     */
    readonly considered: (request: PickRequest, now: number) => ReadonlyArray<Considered>
  }
>()("weir/scheduler/Scheduler") {
  static readonly layer = Layer.effect(
    Scheduler,
    Effect.gen(function* () {
      const registry = yield* Registry
      const random = yield* Random.Random
      const capacity = yield* Capacity
      const eligibility = new Eligibility(capacity)
      const draw = () => random.nextDoubleUnsafe()
      // By pool name, so that cursors and sessions survive a new snapshot that has the pool as well.
      const states = new Map<string, PoolState>()
      // Of pools that are gone or others now, for as long as requests have them that began with an older snapshot.
      const late = new WeakMap<PoolEntry, PoolState>()
      yield* registry.follow(({ pools }) => Effect.sync(() => forgetGone(states, pools)))
      const stateOf = (pool: PoolEntry): PoolState => {
        const known = states.get(pool.name) ?? late.get(pool)
        if (known?.fits(pool)) return known
        const isInForce = registry.current().pools.get(pool.name)?.config === pool.config
        // A request of an older snapshot takes what is there: it must not undo what the newer ones have begun.
        if (known !== undefined && !isInForce) return known
        const made = new PoolState(pool, { capacity, eligibility, random: draw }, known)
        if (isInForce) states.set(pool.name, made)
        else late.set(pool, made)
        return made
      }
      const pickLastResort = (request: PickRequest, now: number): Lease | undefined => {
        const member = eligibility.lastResortAmong(request, now)
        if (member === undefined) return undefined
        const { state } = member.backend
        const instance = request.candidates.instances?.get(state)?.[0]
        const lease = Lease.take(capacity, member, { sticky: undefined, instance, isLastResort: true })
        return lease ?? pickLastResort({ ...request, tried: [...request.tried, state] }, now)
      }
      return Scheduler.of({
        pick: (request, now) => stateOf(request.pool).pick(request, now),
        pickLastResort,
        hasLastResort: (request, now) => eligibility.lastResortAmong(request, now) !== undefined,
        outlook: (request, now) => eligibility.outlook(request, now),
        considered: (request, now) => stateOf(request.pool).considered(request, now)
      })
    })
  )
}

interface PoolServices {
  readonly capacity: Capacity["Service"]
  readonly eligibility: Eligibility
  /** 0 to 1, never 1. */
  readonly random: () => number
}

/** What a pool remembers between choices. */
class PoolState {
  readonly #strategyName: StrategyName
  readonly #sticky: PoolEntry["config"]["sticky"]
  readonly #strategy: Strategy
  readonly #affinity: AffinityTable
  readonly #services: PoolServices

  /** `before`: the state of the same pool with other settings; its sessions stay, where they are kept as before. */
  constructor({ config }: PoolEntry, services: PoolServices, before: PoolState | undefined) {
    this.#services = services
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

  /** Where the last place of a choice is taken by others meanwhile, the next best is chosen. */
  pick(request: PickRequest, now: number): Lease | NoLease {
    let { tried } = request
    for (;;) {
      const remaining = tried === request.tried ? request : { ...request, tried }
      const picked = this.#pickOnce(remaining, now)
      if (picked instanceof Lease) return picked
      // What others took meanwhile has room again some time.
      if (picked === undefined) {
        return tried === request.tried
          ? this.#services.eligibility.explain(request, now)
          : new NoLease("saturated", now)
      }
      tried = [...tried, picked.backend.state]
    }
  }

  /** The member itself where its last place is gone; `undefined` where none can be chosen. */
  #pickOnce(request: PickRequest, now: number): Lease | Member | undefined {
    const { session } = request
    const known = session === undefined ? undefined : this.#affinity.lookup(session, now)
    const preferred = known === undefined ? undefined : this.#preferredBy(known, request, now)
    const chosen = preferred ?? this.#choose(request, now)
    if (chosen === undefined) return undefined
    const instance =
      preferred !== undefined && request.candidates.instances !== undefined
        ? known?.instance
        : request.candidates.instances === undefined
          ? undefined
          : instanceFor(chosen, request, (target) => this.#affinity.heldUntil(target, now))
    if (session === undefined) {
      return this.#take(chosen, { sticky: undefined, instance, isLastResort: false }, request, now)
    }
    const target: AffinityTarget = { backend: chosen.backend.name, instance }
    const stays = known?.backend === target.backend && known.instance === instance
    const sticky = known === undefined ? "miss" : stays ? "hit" : "moved"
    const taken = this.#take(chosen, { sticky, instance, isLastResort: false }, request, now)
    if (taken instanceof Lease) {
      this.#affinity.bind(session, target, instance !== undefined || chosen.backend.capacity === 1, now)
    }
    return taken
  }

  #take(chosen: Member, options: LeaseOptions, request: PickRequest, now: number): Lease | Member {
    const lease = Lease.take(this.#services.capacity, chosen, options)
    if (lease === undefined) return chosen
    chosen.backend.state.health.credentialTried(now)
    this.#strategy.routed?.(chosen, request.prompt)
    return lease
  }

  considered(request: PickRequest, now: number): ReadonlyArray<Considered> {
    const { eligibility } = this.#services
    const choice = this.#choiceOf(request, now, (member) => eligibility.isUsable(member, request, now))
    const candidates = request.candidates.tiers.flatMap((tier) => {
      const scores = this.#strategy.scoresOf?.(tier, choice)
      return tier.map((member, position) => ({
        backend: member.backend.name,
        tier: member.priority,
        standing: standingNow(member, request, now),
        exclusion: eligibility.exclusionOf(member, request, now),
        askedLast: askedLastFor(member, request, now),
        score: scores?.[position]
      }))
    })
    const among = new Set(request.candidates.all)
    const others = request.pool.members.filter((member) => !among.has(member))
    return [...candidates, ...others.map((member) => notCandidate(member, request, now))]
  }

  #choiceOf({ hashKey, prompt }: PickRequest, now: number, usable: Choice["usable"]): Choice {
    return { now, random: this.#services.random, hashKey, prompt, usable }
  }

  /** Tier by tier among those in good standing, then tier by tier among those that are asked last. */
  #choose(request: PickRequest, now: number): Member | undefined {
    return this.#chooseOf("first", request, now) ?? this.#chooseOf("last", request, now)
  }

  #chooseOf(standing: Standing, request: PickRequest, now: number): Member | undefined {
    const { instances, tiers } = request.candidates
    const { eligibility } = this.#services
    const usable = (member: Member) =>
      standingNow(member, request, now) === standing && eligibility.isUsable(member, request, now)
    const choice = this.#choiceOf(request, now, usable)
    for (const tier of tiers) {
      const member =
        (instances && this.#strategy.choose(tier, { ...choice, usable: (m) => usable(m) && hasFree(m, instances) })) ??
        this.#strategy.choose(tier, choice)
      if (member !== undefined) return member
    }
    return undefined
  }

  /**
   * The session's backend, if it can take the request and is not far busier than the others of its tier. No session
   * keeps a tier in use that is only there for when the ones before it have none left.
   */
  #preferredBy({ backend, instance }: AffinityTarget, request: PickRequest, now: number): Member | undefined {
    const { candidates, pool } = request
    const { eligibility } = this.#services
    const member = candidates.all.find((each) => each.backend.name === backend)
    if (member === undefined || !eligibility.isUsable(member, request, now)) return undefined
    const { instances, tiers } = candidates
    // The instance may be gone; or the model has instances since then, or has them no more.
    if (instances !== undefined && instances.get(member.backend.state)?.includes(instance ?? "") !== true)
      return undefined
    for (const tier of tiers) {
      if (!tier.includes(member)) {
        if (tier.some((other) => eligibility.isUsable(other, request, now))) return undefined
        continue
      }
      // While another session holds the instance, a free one is better.
      const isTaken = instance !== undefined && member.backend.state.instances.has(instance)
      const isBetter = (other: Member) => eligibility.isOutstanding(other, request, now)
      if (isAskedLast(member, request, now) && tier.some(isBetter)) return undefined
      const isFree = (other: Member) =>
        instances !== undefined && eligibility.isUsable(other, request, now) && hasFree(other, instances)
      if (isTaken && tier.some(isFree)) return undefined
      return isOverloaded(member, tier, pool.config.sticky.maxImbalance, now) ? undefined : member
    }
    return undefined
  }
}

const notCandidate = (member: Member, request: PickRequest, now: number): Considered => ({
  backend: member.backend.name,
  tier: member.priority,
  standing: standingNow(member, request, now),
  exclusion: member.backend.config.enabled ? "other_model" : "disabled",
  askedLast: undefined,
  score: undefined
})

/** Requests beyond the fair share: on a quiet pool every count is far from the mean, and a move costs the cache. */
const neverTooMany = 2

/**
 * More than `maxImbalance` times its fair share of what is in flight among those of its tier that share the work now,
 * and {@link neverTooMany} on top: below that no other need be looked at.
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
