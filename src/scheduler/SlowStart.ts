/**
 * A backend that came back is given work little by little: its cache is empty, and all others have something in
 * flight, so that to any strategy that counts it looks like the best of all.
 */
import type { Member } from "../registry/Registry.ts"

/** Milliseconds until it has its full weight. */
const rampMillis = 20_000

/** The share of its weight that it begins with. */
const firstShare = 0.2

/** The part of its weight that a backend has so many milliseconds after it came back; all of it where it never was away. */
export const shareSince = (since: number): number =>
  since >= rampMillis ? 1 : firstShare + ((1 - firstShare) * Math.max(0, since)) / rampMillis

/** The configured weight, or the part of it that a backend has earned since it came back. */
export const weightNow = ({ backend: { state }, weight }: Member, now: number): number =>
  weight * shareSince(now - state.recoveredAt)

/** What one more request would make of its load: (in-flight + 1) / weight. */
export const costNow = (member: Member, now: number): number =>
  (member.backend.state.inflight + 1) / weightNow(member, now)
