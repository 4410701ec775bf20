/** Which backends may be given a request now, in which order of standing, and why there is none. */
import type { Standing } from "../domain/Health.ts"
import type { BackendState, Member, PoolEntry } from "../registry/Registry.ts"
import type { Candidates } from "../routing/Router.ts"
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

/** Better than one that is asked last. */
export const isOutstanding = (other: Member, request: PickRequest, now: number): boolean =>
  standingNow(other, request, now) === "first" && isUsable(other, request, now)

export const standingNow = (member: Member, request: PickRequest, now: number): Standing => {
  const standing = member.backend.state.health.standingAt(now)
  return standing === "first" && isAskedLast(member, request, now) ? "last" : standing
}

/**
 * As if it had said itself that it is busy: far slower than its peers, with a failure of which it is not known yet whose
 * fault it is, or after it refused a request for this model.
 */
export const isAskedLast = ({ backend: { state } }: Member, { model }: PickRequest, now: number): boolean =>
  now < state.ejectedUntil || state.unresolved > 0 || state.refuses(model, now)

export const isUsable = (member: Member, { tried }: PickRequest, now: number): boolean => {
  const { state } = member.backend
  return state.inflight < member.capacity && isPresent(member, now) && (tried.length === 0 || !tried.includes(state))
}

/** Whether it could take requests at all, if it had room. */
export const isPresent = ({ backend: { config, state } }: Member, now: number): boolean =>
  state.health.standingAt(now) !== "out" && config.enabled && now >= state.retryAfterUntil && circuitPermits(state, now)

/** Closed; or open for long enough, or half open, with nobody trying it yet. */
const circuitPermits = ({ circuit }: BackendState, now: number): boolean =>
  circuit.phase === "closed" || (now >= circuit.openUntil && !circuit.trialRunning)

/** Requests at once that a backend gets although it is out, the trial of its circuit included. */
const maxLastResorts = 3

/** Only asked where no other backend could be chosen, so it may take its time. */
export const lastResortAmong = (request: PickRequest, now: number): Member | undefined => {
  let best: Member | undefined
  let least = Number.POSITIVE_INFINITY
  for (const member of request.candidates.all) {
    const { state } = member.backend
    const trials = state.lastResorts + (state.circuit.trialRunning ? 1 : 0)
    if (trials >= maxLastResorts || state.inflight >= member.capacity || request.tried.includes(state)) continue
    const badness = badnessOf(member, now)
    if (badness === undefined || badness + trials >= least) continue
    best = member
    least = badness + trials
  }
  return best
}

/** More than any number of trials, so that what is less bad comes first. */
const worse = maxLastResorts + 1

/** `undefined` where it must not be asked: it is disabled or misconfigured, loads its model, or asked for its rest. */
const badnessOf = ({ backend: { config, state } }: Member, now: number): number | undefined => {
  if (!config.enabled) return undefined
  const rests = now < state.retryAfterUntil
  if (rests && !state.restIsUnasked) return undefined
  const isDead = state.health.standingAt(now) === "out"
  if (isDead && !mayBeTried(state)) return undefined
  return (rests ? worse : 0) + (circuitPermits(state, now) ? 0 : 2 * worse) + (isDead ? 4 * worse : 0)
}

/** Of one that its probes have put out: they were not answered, or it is busy and has not said for how long. */
const mayBeTried = ({ health: { status }, probeAsksForRest }: BackendState): boolean =>
  status === "unhealthy" || (status === "rate_limited" && !probeAsksForRest)

/** Only asked where no backend could be chosen, so it may take its time. */
export const explain = (request: PickRequest, now: number): NoLease => {
  let until = Number.POSITIVE_INFINITY
  let refusing = 0
  let others = 0
  for (const { backend, capacity } of request.candidates.all) {
    const { circuit, health, inflight, retryAfterUntil: restUntil } = backend.state
    if (!backend.config.enabled) continue
    if (health.status === "misconfigured") refusing++
    else others++
    if (health.standingAt(now) === "out" || request.tried.includes(backend.state)) continue
    const back = Math.max(restUntil, circuit.phase === "closed" ? 0 : circuit.openUntil)
    if (back > now) until = Math.min(until, back)
    else if (inflight >= capacity) return new NoLease("saturated", now)
  }
  if (until !== Number.POSITIVE_INFINITY) return new NoLease("resting", until)
  return new NoLease(refusing > 0 && others === 0 ? "misconfigured" : "unavailable", until)
}
