/**
 * One request under way: its plan, what it holds, and what became of it so far. All that a request takes (a permit, a
 * share of a limit, attempts with all that they hold) is noted here in the moment that it is taken, and given back by
 * `release`, which runs once, however the request ends.
 */
import type { Outgoing } from "../backend/BackendAdapter.ts"
import type { Usage } from "../protocol/Usage.ts"
import type { BackendState, Fault } from "../registry/Registry.ts"
import type { Admission } from "../resilience/Admission.ts"
import type { KeyUse } from "../resilience/RateLimiter.ts"
import type { Lease, PickRequest, StickyOutcome } from "../scheduler/Scheduler.ts"
import { Attempt, type AttemptServices, type Unresolved } from "./Attempt.ts"
import { OutgoingRequest } from "./OutgoingRequest.ts"
import type { ProxyRequest, RequestReport } from "./ProxyRequest.ts"
import type { RequestPlan } from "./RequestPlan.ts"

export interface RequestServices extends AttemptServices {
  readonly admission: Admission["Service"]
}

/** Mutable by nature: written by the fibers of its one request. */
export class RequestState {
  readonly #services: RequestServices
  readonly request: ProxyRequest
  #plan: RequestPlan
  #outgoing: OutgoingRequest | undefined

  /** How often a backend was asked by this plan; the report counts all. */
  attempts = 0
  /** Backends that must not be asked again. */
  tried: ReadonlyArray<BackendState> = []
  /** Backends that have failed this request, in order; asked again only where no other is left. */
  failed: ReadonlyArray<BackendState> = []
  /** Failures of which it is not known yet whether they count. */
  readonly unresolved = new UnresolvedFailures()
  /** How often a backend was silent for longer than it may be. */
  silences = 0
  /** What became of the session's preference, over all attempts: one that had none has not moved, though it was retried. */
  sticky: StickyOutcome | undefined
  keyUse: KeyUse | undefined
  #hasPermit = false

  /** Attempts that have not ended: one, or two while one is hedged. */
  #open: ReadonlyArray<Attempt> = []
  #released = false

  constructor(services: RequestServices, plan: RequestPlan) {
    this.#services = services
    this.#plan = plan
    this.request = plan.request
  }

  get plan(): RequestPlan {
    return this.#plan
  }

  get report(): RequestReport {
    return this.request.report
  }

  /** Whether it counts as one at work in its pool. */
  get hasPermit(): boolean {
    return this.#hasPermit
  }

  now(): number {
    return this.#services.clock.now()
  }

  /** What choosing a backend goes by, for all but the backends that were tried. */
  pickRequest(tried = this.tried): PickRequest {
    const { candidates, hashKey, model, pool, prompt, session } = this.#plan
    return { candidates, hashKey, model, pool, prompt, session, tried }
  }

  /** What goes to the backend of a lease. */
  outgoing(lease: Lease): Outgoing {
    this.#outgoing ??= new OutgoingRequest(this.#plan)
    return this.#outgoing.for(lease)
  }

  /** The pool has given its permit. */
  readonly onPermit = (): void => {
    this.#hasPermit = true
  }

  /** A backend was chosen; from here on it is counted. */
  openAttempt(lease: Lease): Attempt {
    const attempt = new Attempt(this.#services, this.#plan, lease)
    this.#open = [...this.#open, attempt]
    this.#showBackend()
    // One that runs beside another is not chosen by the session.
    if (this.sticky !== "miss") this.sticky = lease.sticky ?? this.sticky
    return attempt
  }

  /** The attempt goes out. */
  sent(attempt: Attempt): void {
    this.attempts++
    this.report.attempts++
    attempt.sent(this.report.attempts)
  }

  /** The attempt is over without an answer that is kept: its backend is free, the request goes on. */
  discard(attempt: Attempt): void {
    this.report.upstream += attempt.sentAt === 0 ? 0 : this.now() - attempt.sentAt
    this.#open = this.#open.filter((other) => other !== attempt)
    this.#showBackend()
    attempt.end()
  }

  /** What must not be asked again once this attempt has come to nothing. */
  triedWith({ member }: Attempt): ReadonlyArray<BackendState> {
    const { state } = member.backend
    return this.tried.includes(state) ? this.tried : [...this.tried, state]
  }

  /**
   * An answer is passed on: no backend is asked again. A stream may take minutes, and its prompt would be in memory all
   * the time.
   */
  commit(): void {
    this.#outgoing = undefined
    this.request.payload.letGo()
  }

  /** Another plan takes over: what this one holds is given back, but for the share of the key's limits. */
  replacePlan(plan: RequestPlan): void {
    this.#giveBack()
    this.#plan = plan
    this.#outgoing = undefined
    this.attempts = 0
    this.tried = []
    this.failed = []
    this.silences = 0
    this.sticky = undefined
  }

  /** Everything is given back. Calling it again is harmless. */
  release(): void {
    if (this.#released) return
    this.#released = true
    this.#giveBack()
    this.keyUse?.settle(this.#tokensUsed(this.report.usage))
  }

  #giveBack(): void {
    for (const attempt of this.#open) attempt.end()
    this.#open = []
    this.unresolved.drop()
    if (!this.#hasPermit) return
    this.#hasPermit = false
    const { config, name } = this.#plan.pool
    this.#services.admission.release(name, config.admission.maxConcurrent)
  }

  /** The backend that is asked at this moment; of two, the first. */
  #showBackend(): void {
    this.report.backend = this.#open[0]?.member.backend.name ?? this.report.backend
  }

  /** `undefined` where no backend told; a request that was never sent to one has used none. */
  #tokensUsed(usage: Usage | undefined): number | undefined {
    if (usage !== undefined) return usage.prompt + usage.completion
    return this.attempts === 0 ? 0 : undefined
  }
}

/**
 * Failures of one request of which it is not known yet whose fault they are. A backend that fails where another one
 * answers is at fault; a request on which several fail alike is at fault itself, and so may be one that only a single
 * backend could be asked for: then none of them counts (reliability: blame). Mutable by nature: one for each request.
 */
class UnresolvedFailures {
  #pending: ReadonlyArray<Unresolved> = []
  /** A failure that counts in any case, and that the others are therefore not alike with. */
  #hasOther = false

  add(failure: Unresolved): void {
    this.#pending = [...this.#pending, failure]
  }

  /** A backend failed the request in another way, which counts at once. */
  addOther(): void {
    this.#hasOther = true
  }

  /** Another backend answered the same request well. */
  answeredElsewhere(): void {
    this.#resolve("backend")
  }

  /** A backend found the request at fault. */
  refused(): void {
    this.#resolve("request")
  }

  /** The request is over without an outcome: the failures say nothing. */
  drop(): void {
    this.#resolve("none")
  }

  /** All that were asked failed. `couldAskOther`: another backend was eligible, and attempts or budget were used up. */
  allFailed(couldAskOther: boolean): void {
    const likenesses = new Set(this.#pending.map(({ likeness }) => likeness))
    const backends = new Set(this.#pending.map(({ backend }) => backend))
    if (this.#hasOther || (backends.size > 1 && likenesses.size > 1)) return this.#resolve("several")
    if (backends.size > 1) return this.#resolve("request")
    this.#resolve(couldAskOther ? "unasked" : "none")
  }

  #resolve(fault: Fault): void {
    if (this.#pending.length === 0) return
    const all = this.#pending
    this.#pending = []
    for (const { resolve } of all) resolve(fault)
  }
}
