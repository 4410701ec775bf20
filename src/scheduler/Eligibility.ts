/** Which backends may be given a request now, in which order of standing, and why there is none. */
import type { HealthStatus, Standing } from "../domain/Health.ts"
import type { BackendState, Capacity, Member, PoolEntry } from "../registry/Registry.ts"
import type { Candidates } from "../routing/Router.ts"
import { circuitPermits, type Exclusion, exclusionOf, outOfService, unwilling, willingAt } from "./Exclusions.ts"
import { hasFree } from "./InstanceChoice.ts"
import type { PromptBlocks } from "./PromptBlocks.ts"

export interface PickRequest {
  readonly pool: PoolEntry
  readonly candidates: Candidates
  /** What backends are asked for; `undefined` for what is routed by path alone. */
  readonly model: string | undefined
  /** What makes requests belong together, already with the model in it; `undefined`: nothing does. */
  readonly session: string | undefined
  /** What `consistent_hash` goes by. */
  readonly hashKey: number | undefined
  /** What `prefix_aware` goes by. */
  readonly prompt: PromptBlocks | undefined
  /** Backends that this request must not be sent to again. */
  readonly tried: ReadonlyArray<BackendState>
}

/** Why there is no lease. */
export class NoLease {
  /**
   * `saturated`: a backend will have room; `resting`: one will be back at `until`; `misconfigured`: all that could serve
   * refuse the gateway's credential; `unavailable`: none is there.
   */
  readonly reason: "saturated" | "resting" | "misconfigured" | "unavailable"
  /** Monotonic milliseconds of the earliest return, for `resting`. */
  readonly until: number
  constructor(reason: NoLease["reason"], until: number) {
    this.reason = reason
    this.until = until
  }
}

/** Why a backend is asked after others, although it can be given the request. */
export type AskedLast =
  /** Its health. */
  | Extract<HealthStatus, "busy" | "degraded">
  /** It is far slower than its peers. */
  | "ejected"
  /** A request failed there, and it is not known yet whose fault that is. */
  | "unresolved_failure"
  /** It refused a request for this model a while ago. */
  | "refused_model"
  /** Where the model has instances there: each has a request. */
  | "no_free_instance"

/** What traffic has found: it is asked last then, as if it had said itself that it is busy. */
const foundByTraffic = ({ backend: { state } }: Member, { model }: PickRequest, now: number): AskedLast | undefined => {
  if (now < state.ejectedUntil) return "ejected"
  if (state.unresolved > 0) return "unresolved_failure"
  return state.refuses(model, now) ? "refused_model" : undefined
}

export const isAskedLast = (member: Member, request: PickRequest, now: number): boolean =>
  foundByTraffic(member, request, now) !== undefined

/** The first reason, in the order of {@link AskedLast}: to tell why, off the path of requests. */
export const askedLastFor = (member: Member, request: PickRequest, now: number): AskedLast | undefined => {
  const { health } = member.backend.state
  if (health.standingAt(now) === "last" && (health.status === "busy" || health.status === "degraded")) {
    return health.status
  }
  const { instances } = request.candidates
  const isTaken = instances !== undefined && !hasFree(member, instances)
  return foundByTraffic(member, request, now) ?? (isTaken ? "no_free_instance" : undefined)
}

export const standingNow = (member: Member, request: PickRequest, now: number): Standing => {
  const standing = member.backend.state.health.standingAt(now)
  return standing === "first" && isAskedLast(member, request, now) ? "last" : standing
}

/** Whether it could take requests at all, if it had room. */
export const isPresent = (member: Member, now: number): boolean =>
  outOfService(member, now) === undefined && unwilling(member.backend.state, now) === undefined

/** Requests at once that a backend gets although it is out, the trial of its circuit included. */
const maxLastResorts = 3

/** More than any number of trials, so that what is less bad comes first. */
const worse = maxLastResorts + 1

export class Eligibility {
  readonly #capacity: Capacity["Service"]

  constructor(capacity: Capacity["Service"]) {
    this.#capacity = capacity
  }

  exclusionOf(member: Member, { tried }: PickRequest, now: number): Exclusion | undefined {
    return exclusionOf(member, tried, this.#capacity, now)
  }

  isUsable(member: Member, { tried }: PickRequest, now: number): boolean {
    return exclusionOf(member, tried, this.#capacity, now) === undefined
  }

  /** Better than one that is asked last. */
  isOutstanding(member: Member, request: PickRequest, now: number): boolean {
    return standingNow(member, request, now) === "first" && this.isUsable(member, request, now)
  }

  /** What choosing would find, without a choice. */
  outlook(request: PickRequest, now: number): "ready" | NoLease {
    return request.candidates.all.some((member) => this.isUsable(member, request, now))
      ? "ready"
      : this.explain(request, now)
  }

  /** Only asked where no backend could be chosen, so it may take its time. */
  explain(request: PickRequest, now: number): NoLease {
    let until = Number.POSITIVE_INFINITY
    let refusing = 0
    let others = 0
    for (const member of request.candidates.all) {
      const { config, state } = member.backend
      if (!config.enabled) continue
      if (state.health.status === "misconfigured") refusing++
      else others++
      const exclusion = this.exclusionOf(member, request, now)
      if (exclusion === "full") return new NoLease("saturated", now)
      if (exclusion !== "resting" && exclusion !== "circuit_open") continue
      const back = willingAt(state)
      if (back > now) until = Math.min(until, back)
      // Its trial is under way, and takes its last place.
      else if (!this.#capacity.hasRoom(member.backend)) return new NoLease("saturated", now)
    }
    if (until !== Number.POSITIVE_INFINITY) return new NoLease("resting", until)
    return new NoLease(refusing > 0 && others === 0 ? "misconfigured" : "unavailable", until)
  }

  /** Only asked where no other backend could be chosen, so it may take its time. */
  lastResortAmong(request: PickRequest, now: number): Member | undefined {
    let best: Member | undefined
    let least = Number.POSITIVE_INFINITY
    for (const member of request.candidates.all) {
      const { state } = member.backend
      const trials = state.lastResorts + (state.circuit.trialRunning ? 1 : 0)
      if (trials >= maxLastResorts || !this.#capacity.hasRoom(member.backend) || request.tried.includes(state)) continue
      const badness = badnessOf(member, now)
      if (badness === undefined || badness + trials >= least) continue
      best = member
      least = badness + trials
    }
    return best
  }
}

/** `undefined` where it must not be asked: it is disabled or misconfigured, loads its model, or asked for its rest. */
const badnessOf = (member: Member, now: number): number | undefined => {
  const { state } = member.backend
  const out = outOfService(member, now)
  if (out !== undefined && !mayBeTried(out, state)) return undefined
  const rests = unwilling(state, now) === "resting"
  if (rests && !state.restIsUnasked) return undefined
  return (rests ? worse : 0) + (circuitPermits(state, now) ? 0 : 2 * worse) + (out === undefined ? 0 : 4 * worse)
}

/** Of one that its probes have put out: they were not answered, or it is busy and has not said for how long. */
const mayBeTried = (out: Exclusion, { probeAsksForRest }: BackendState): boolean =>
  out === "unhealthy" || (out === "rate_limited" && !probeAsksForRest)
