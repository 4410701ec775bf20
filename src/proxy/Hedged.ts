/** Two backends asked at once: when the first takes longer than most, and somebody else has nothing better to do. */
import { Effect, Exit, Fiber, Option } from "effect"
import type { Member } from "../registry/Registry.ts"
import { isAskedLast, Lease } from "../scheduler/Scheduler.ts"
import type { Attempt } from "./Attempt.ts"
import type { ProxyServices } from "./ProxyServices.ts"
import type { RequestState } from "./RequestState.ts"

/** Runs an attempt; `since` is the one with which the client began to wait. */
type Ask<A, E> = (attempt: Attempt, since: Attempt) => Effect.Effect<A, E>

export const makeHedged = ({ admission, timers, hedging, metrics, scheduler }: ProxyServices) => {
  /**
   * Only onto capacity that nobody waits for: a backend in good standing that has less to do than the first. The others
   * count as tried, so that the strategy chooses among these alone, and nobody is chosen in vain.
   */
  const boardBeside = (flight: RequestState, first: Attempt): Attempt | undefined => {
    if (admission.depth(flight.pool.name) > 0) return undefined
    const { candidates, hashKey, model, pool, prompt, tried } = flight
    const now = timers.now()
    const { inflight } = first.member.backend.state
    const beside = { candidates, hashKey, model, pool, prompt, session: undefined, tried }
    const isSpare = (member: Member) => {
      const { health, inflight: own } = member.backend.state
      return own < inflight && health.standing === "first" && !isAskedLast(member, beside, now)
    }
    const others = candidates.all.filter((member) => !isSpare(member)).map(({ backend: { state } }) => state)
    const request = { ...beside, tried: [...tried, ...others] }
    if (scheduler.outlook(request, now) !== "ready" || !hedging.take(pool)) return undefined
    const picked = scheduler.pick(request, now)
    return picked instanceof Lease ? flight.openAttempt(picked) : undefined
  }

  /**
   * After `patience` milliseconds without an output a second attempt is made, if one may be. The first output of either
   * is kept; the other attempt is cancelled at its backend. It has failed when both have. Both are interrupted before
   * what the request holds is given back: an exchange that is hung up on must find nobody who takes that for a failure.
   */
  return Effect.fnUntraced(function* <A, E>(flight: RequestState, first: Attempt, patience: number, ask: Ask<A, E>) {
    const one = yield* Effect.forkScoped(ask(first, first), { startImmediately: true })
    const early = yield* Effect.timeoutOption(Fiber.await(one), patience)
    if (Option.isSome(early)) return yield* early.value
    const second = boardBeside(flight, first)
    if (second === undefined) return yield* Fiber.join(one)
    metrics.retries(flight.pool.name, "hedge")(1)
    const other = yield* Effect.forkScoped(ask(second, first), { startImmediately: true })
    const { exit, own, rival, running } = yield* Effect.raceFirst(
      Effect.map(Fiber.await(one), (exit) => ({ exit, own: first, rival: second, running: other })),
      Effect.map(Fiber.await(other), (exit) => ({ exit, own: second, rival: first, running: one }))
    )
    if (Exit.isFailure(exit)) {
      flight.tried = flight.triedWith(own)
      flight.discard(own)
      return yield* Fiber.join(running)
    }
    yield* Fiber.interrupt(running)
    flight.discard(rival)
    // The session stays bound to the first, but this answer is not its backend's.
    if (own === second && flight.sticky === "hit") flight.sticky = "moved"
    return exit.value
  }, Effect.scoped)
}
