/** Two backends asked at once: when the first takes longer than most, and another one has nothing better to do. */
import { Effect, Exit, Fiber, Option } from "effect"
import { MonotonicClock } from "../domain/MonotonicClock.ts"
import type { Member } from "../registry/Registry.ts"
import { Admission } from "../resilience/Admission.ts"
import { HedgePolicy } from "../resilience/HedgePolicy.ts"
import { isAskedLast, Lease, Scheduler } from "../scheduler/Scheduler.ts"
import { Metrics } from "../telemetry/Telemetry.ts"
import type { Attempt } from "./Attempt.ts"
import type { RequestState } from "./RequestState.ts"

/** Runs an attempt; `since` is the one with which the client began to wait. */
type Send<A, E> = (state: RequestState, attempt: Attempt, since: Attempt) => Effect.Effect<A, E>

export const makeHedged = Effect.gen(function* () {
  const admission = yield* Admission
  const hedging = yield* HedgePolicy
  const metrics = yield* Metrics
  const scheduler = yield* Scheduler
  const clock = yield* MonotonicClock

  /**
   * Only onto capacity that no request waits for: a backend in good standing that has less to do than the first. The
   * others count as tried, so that the strategy chooses among these alone, and none is chosen in vain.
   */
  const openBeside = (state: RequestState, first: Attempt): Attempt | undefined => {
    const { candidates, pool } = state.plan
    if (admission.depth(pool.name) > 0) return undefined
    const now = clock.now()
    const { inflight } = first.member.backend.state
    const beside = { ...state.pickRequest(), session: undefined }
    const isSpare = (member: Member) => {
      const { health, inflight: own } = member.backend.state
      return own < inflight && health.standing === "first" && !isAskedLast(member, beside, now)
    }
    const others = candidates.all.filter((member) => !isSpare(member)).map(({ backend }) => backend.state)
    const request = { ...beside, tried: [...state.tried, ...others] }
    if (scheduler.outlook(request, now) !== "ready" || !hedging.take(pool)) return undefined
    const picked = scheduler.pick(request, now)
    return picked instanceof Lease ? state.openAttempt(picked) : undefined
  }

  /**
   * After `delay` milliseconds without an output a second attempt is made, if one may be. The first output of either is
   * kept; the other attempt is cancelled at its backend. It has failed when both have. Both are interrupted before what
   * the request holds is given back: no fiber may be left that takes an exchange that is hung up on for a failure.
   */
  return Effect.fnUntraced(function* <A, E>(state: RequestState, first: Attempt, delay: number, send: Send<A, E>) {
    const one = yield* Effect.forkScoped(send(state, first, first), { startImmediately: true })
    const early = yield* Effect.timeoutOption(Fiber.await(one), delay)
    if (Option.isSome(early)) return yield* early.value
    const second = openBeside(state, first)
    if (second === undefined) return yield* Fiber.join(one)
    metrics.retries({ pool: state.plan.pool.name, reason: "hedge" })(1)
    const other = yield* Effect.forkScoped(send(state, second, first), { startImmediately: true })
    const { exit, own, rival, running } = yield* Effect.raceFirst(
      Effect.map(Fiber.await(one), (exit) => ({ exit, own: first, rival: second, running: other })),
      Effect.map(Fiber.await(other), (exit) => ({ exit, own: second, rival: first, running: one }))
    )
    if (Exit.isFailure(exit)) {
      state.tried = state.triedWith(own)
      state.discard(own)
      return yield* Fiber.join(running)
    }
    yield* Fiber.interrupt(running)
    state.discard(rival)
    // The session stays bound to the first, but this answer is not its backend's.
    if (own === second && state.sticky === "hit") state.sticky = "moved"
    return exit.value
  }, Effect.scoped)
})
