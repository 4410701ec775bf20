/**
 * Why a backend cannot be given a request now, in one place: choosing, waiting, the last resort and what is told of a
 * decision go by it. A backend is available that is in service, willing and not full, in these three steps.
 */
import type { HealthStatus } from "../domain/Health.ts"
import type { BackendState, Capacity, Member } from "../registry/Registry.ts"

export type Exclusion =
  | "disabled"
  /** Its health: it is not answering, not ready, or refuses the gateway's credential. */
  | Exclude<HealthStatus, "unknown" | "healthy" | "busy" | "degraded">
  /** It was asked for this request already. */
  | "tried"
  | "resting"
  | "circuit_open"
  | "full"

/** `undefined` where it can be given the request. Reasons are literals: nothing is made for one. */
export const exclusionOf = (
  member: Member,
  tried: ReadonlyArray<BackendState>,
  capacity: Capacity["Service"],
  now: number
): Exclusion | undefined =>
  outOfService(member, now) ??
  (tried.length > 0 && tried.includes(member.backend.state) ? "tried" : undefined) ??
  unwilling(member.backend.state, now) ??
  (capacity.hasRoom(member.backend) ? undefined : "full")

/** The first step: it is configured to be used, and its health lets it be. */
export const outOfService = ({ backend: { config, state } }: Member, now: number): Exclusion | undefined => {
  if (!config.enabled) return "disabled"
  if (state.health.standingAt(now) !== "out") return undefined
  switch (state.health.status) {
    case "unknown":
    case "healthy":
    case "busy":
    case "degraded":
      return undefined
    default:
      return state.health.status
  }
}

/** The second: it is not resting, and its circuit lets a request through. */
export const unwilling = (state: BackendState, now: number): "resting" | "circuit_open" | undefined => {
  if (now < state.retryAfterUntil) return "resting"
  return circuitPermits(state, now) ? undefined : "circuit_open"
}

/** Closed; or open for long enough, or half open, with no trial under way. */
export const circuitPermits = ({ circuit }: BackendState, now: number): boolean =>
  circuit.phase === "closed" || (now >= circuit.openUntil && !circuit.trialRunning)

/** When it will be willing again; in the past where that is not known. Monotonic milliseconds. */
export const willingAt = ({ circuit, retryAfterUntil }: BackendState): number =>
  Math.max(retryAfterUntil, circuit.phase === "closed" ? 0 : circuit.openUntil)
