/**
 * One request in flight: what it holds, how long it may take, what became of it. Whatever a request takes (a permit, a
 * share of a limit, attempts with all that they hold) is noted here in the moment that it is taken, and given back by
 * `land`, which runs once, however the request ends.
 */

import type { Usage } from "../protocol/Usage.ts"
import type { BackendState, PoolEntry } from "../registry/Registry.ts"
import type { KeyUse } from "../resilience/RateLimiter.ts"
import type { Candidates } from "../routing/Router.ts"
import type { Lease, PromptBlocks, StickyOutcome } from "../scheduler/Scheduler.ts"
import { Attempt, type Errand } from "./Attempt.ts"
import type { ProxyServices } from "./ProxyServices.ts"
import type { RequestTrace } from "./RequestTrace.ts"
import { UnresolvedFailures } from "./UnresolvedFailures.ts"

export interface FlightPlan extends Errand {
  readonly candidates: Candidates
  readonly session: string | undefined
  readonly hashKey: number | undefined
  readonly prompt: PromptBlocks | undefined
}

/** Mutable by nature: written by the fibers of its one request. */
export class RequestState implements FlightPlan {
  readonly #services: ProxyServices
  readonly pool: PoolEntry
  readonly model: string | undefined
  readonly candidates: Candidates
  readonly session: string | undefined
  readonly hashKey: number | undefined
  readonly prompt: PromptBlocks | undefined
  readonly deadline: number
  readonly streaming: boolean
  readonly method: string
  readonly trace: RequestTrace | undefined

  /** How often a backend was asked. */
  attempts = 0
  /** The same for the models that this one stands for. */
  #before = 0
  /** Backends that must not be asked again. */
  tried: ReadonlyArray<BackendState> = []
  /** Backends that have failed this request, in order; asked again only where there is nobody else. */
  failed: ReadonlyArray<BackendState> = []
  /** Failures of which it is not known yet whether they count. */
  readonly unresolved = new UnresolvedFailures()
  /** How often a backend was silent for longer than it may be. */
  silences = 0
  /** What became of the session's preference, over all attempts: who had none has not moved, though it was retried. */
  sticky: StickyOutcome | undefined
  /** Milliseconds spent waiting for a place, over all attempts. */
  queued = 0
  /** Milliseconds that backends took, over all attempts that have ended. */
  upstream = 0
  usage: Usage | undefined
  keyUse: KeyUse | undefined
  isPermitted = false

  /** Attempts that have not ended: one, or two while one is hedged. */
  #open: ReadonlyArray<Attempt> = []
  #landed = false

  constructor(services: ProxyServices, plan: FlightPlan) {
    this.#services = services
    this.pool = plan.pool
    this.model = plan.model
    this.candidates = plan.candidates
    this.session = plan.session
    this.hashKey = plan.hashKey
    this.prompt = plan.prompt
    this.deadline = plan.deadline
    this.streaming = plan.streaming
    this.method = plan.method
    this.trace = plan.trace
  }

  now(): number {
    return this.#services.timers.now()
  }

  /** A place in the pool was given. */
  readonly onPermit = (): void => {
    this.isPermitted = true
  }

  /** A backend was chosen; from here on it is counted. */
  openAttempt(lease: Lease): Attempt {
    const attempt = new Attempt(this.#services, this, lease)
    this.#open = [...this.#open, attempt]
    // One that runs beside another is not chosen by the session.
    if (this.sticky !== "miss") this.sticky = lease.sticky ?? this.sticky
    return attempt
  }

  /** The attempt goes out. */
  sent(attempt: Attempt): void {
    this.attempts++
    attempt.sent(this.allAttempts)
  }

  /** The attempt is over without an answer that anybody keeps: its backend is free, the request goes on. */
  discard(attempt: Attempt): void {
    this.upstream += attempt.sentAt === 0 ? 0 : this.now() - attempt.sentAt
    this.#open = this.#open.filter((other) => other !== attempt)
    attempt.end()
  }

  /** Who must not be asked again once this attempt has come to nothing. */
  triedWith({ member }: Attempt): ReadonlyArray<BackendState> {
    const { state } = member.backend
    return this.tried.includes(state) ? this.tried : [...this.tried, state]
  }

  /** Who is asked at this moment; of two, the first. */
  get backend(): string | undefined {
    return this.#open[0]?.member.backend.name
  }

  /** How often a backend was asked for this request, whatever the model. */
  get allAttempts(): number {
    return this.#before + this.attempts
  }

  /** This one stands in for another, which has come to nothing: what it holds is given back, what it spent is kept. */
  takeOver(before: RequestState): void {
    this.keyUse = before.keyUse
    before.keyUse = undefined
    before.release()
    this.queued += before.queued
    this.upstream += before.upstream
    this.#before = before.allAttempts
  }

  /** Everything is given back. Calling it again is harmless. */
  release(): void {
    if (this.#landed) return
    this.#landed = true
    for (const attempt of this.#open) attempt.end()
    this.#open = []
    this.unresolved.drop()
    this.keyUse?.settle(this.#tokensUsed())
    if (this.isPermitted) this.#services.admission.release(this.pool.name, this.pool.config.admission.maxConcurrent)
  }

  /** `undefined` where nobody told; who was never sent to a backend has used none. */
  #tokensUsed(): number | undefined {
    if (this.usage !== undefined) return this.usage.prompt + this.usage.completion
    return this.attempts === 0 ? 0 : undefined
  }
}
