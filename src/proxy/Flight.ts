/**
 * One request in flight: what it holds, how long it may take, what became of it. Whatever a request takes (a lease, a
 * permit, a share of a limit, an exchange with a backend) is noted here in the moment that it is taken, and given back
 * by `land`, which runs once, however the request ends.
 */
import { type Abort, UpstreamFailed, type UpstreamResponse } from "../backend/UpstreamTransport.ts"
import type { BackendState, Member, PoolEntry } from "../registry/Registry.ts"
import type { CallResult } from "../resilience/CircuitBreaker.ts"
import type { Timed } from "../resilience/Deadlines.ts"
import type { KeyUse } from "../resilience/RateLimiter.ts"
import type { Candidates, Lease, PromptBlocks, StickyOutcome } from "../scheduler/Scheduler.ts"
import type { ProxyServices } from "./ProxyServices.ts"
import type { Usage } from "./Usage.ts"

/** Which bound was reached: the client's own, or one of the backend's. */
export type Expired = "deadline" | "first_byte" | "idle" | "request"

const never = Number.POSITIVE_INFINITY

/** Mutable by nature: written by the one fiber of its request, and by the deadlines. */
export class Flight implements Timed {
  readonly #services: ProxyServices
  readonly pool: PoolEntry
  readonly candidates: Candidates
  readonly session: string | undefined
  readonly hashKey: number | undefined
  readonly prompt: PromptBlocks | undefined
  /** Monotonic milliseconds. */
  readonly receivedAt: number
  /** Monotonic milliseconds; `Infinity` without. */
  readonly deadline: number
  readonly streaming: boolean

  attempts = 0
  /** Backends that must not be asked again. */
  tried: ReadonlyArray<BackendState> = []
  lease: Lease | undefined
  /** What became of the session's preference, over all attempts: who had none has not moved, though it was retried. */
  sticky: StickyOutcome | undefined
  sentAt = 0
  headAt = 0
  /** Milliseconds spent waiting for a place, over all attempts. */
  queued = 0
  /** Milliseconds that backends took, over all attempts that have ended. */
  upstream = 0
  expired: Expired | undefined
  usage: Usage | undefined
  keyUse: KeyUse | undefined
  dueAt = never

  #dueFor: Expired = "deadline"
  /** When the attempt as a whole must be over. */
  #wholeBy = never
  #permitted = false
  #trial = false
  #judged = true
  #abort: Abort | undefined
  #response: UpstreamResponse | undefined
  #landed = false

  constructor(
    services: ProxyServices,
    options: {
      readonly pool: PoolEntry
      readonly candidates: Candidates
      readonly session: string | undefined
      readonly hashKey: number | undefined
      readonly prompt: PromptBlocks | undefined
      readonly receivedAt: number
      readonly deadline: number
      readonly streaming: boolean
    }
  ) {
    this.#services = services
    this.pool = options.pool
    this.candidates = options.candidates
    this.session = options.session
    this.hashKey = options.hashKey
    this.prompt = options.prompt
    this.receivedAt = options.receivedAt
    this.deadline = options.deadline
    this.streaming = options.streaming
    services.deadlines.add(this)
  }

  now(): number {
    return this.#services.deadlines.now()
  }

  /** A place in the pool was given. */
  readonly permitted = (): void => {
    this.#permitted = true
  }

  /** A backend was chosen; from here on it is counted. */
  board(lease: Lease): void {
    this.lease = lease
    if (this.sticky !== "miss") this.sticky = lease.sticky
    this.#trial = this.#services.breaker.begin(lease.member.backend)
    this.#judged = false
  }

  /** The attempt goes out. */
  depart(member: Member): void {
    const { state } = member.backend
    this.attempts++
    this.sentAt = this.now()
    this.headAt = 0
    this.#response = undefined
    state.requests++
    this.#services.metrics.upstreamRequests(this.pool.name, state.name)(1)
  }

  readonly onStart = (abort: Abort): void => {
    this.#abort = abort
  }

  /** The backend has answered with a head. */
  arrive(response: UpstreamResponse): void {
    this.headAt = this.now()
    this.#response = response
  }

  /** From now on the head of an answer is awaited, or the whole of one that does not stream. */
  awaitHead({ timeouts }: Member): void {
    const bounded = !this.streaming || !this.pool.config.client.stream
    this.#wholeBy = bounded ? this.sentAt + timeouts.request : never
    this.#within(this.streaming ? timeouts.firstByte : timeouts.firstByteOfWhole, "first_byte", this.sentAt)
  }

  /** The answer streams, whether or not that was asked for: its first output is awaited, and not the whole of it. */
  awaitOutput(): void {
    if (this.pool.config.client.stream) this.#wholeBy = never
    this.#within(this.lease?.member.timeouts.firstByte ?? never, "first_byte", this.sentAt)
  }

  /** The next piece of a body is awaited; `streams`: its silence counts, else only the whole does. */
  awaitPiece(streams: boolean): void {
    this.#within(streams ? (this.lease?.member.timeouts.idle ?? never) : never, "idle", this.now())
  }

  /** Nothing is awaited from the backend; only the request's own deadline counts. */
  atEase(): void {
    this.#dueFor = "deadline"
    this.dueAt = this.deadline
  }

  #within(limit: number, reason: Expired, from: number): void {
    const due = Math.min(from + limit, this.#wholeBy, this.deadline)
    this.dueAt = due
    this.#dueFor = due === this.deadline ? "deadline" : due === this.#wholeBy ? "request" : reason
  }

  readonly expire = (): void => {
    this.expired = this.#dueFor
    this.#abort?.(new UpstreamFailed({ kind: "timeout", detail: this.#dueFor }))
  }

  /** What this attempt says of its backend; the first word counts. */
  judge(result: CallResult): void {
    const backend = this.lease?.member.backend
    if (backend === undefined || this.#judged) return
    this.#judged = true
    const now = this.now()
    this.#services.breaker.end(backend, this.#trial, result)
    if (result === "ignored") return
    backend.state.outcomes.record(result === "success", now)
    if (result === "failure") backend.state.failures++
  }

  /** An exchange that had counted as a success broke off all the same. */
  brokeOff(): void {
    const backend = this.lease?.member.backend
    if (backend === undefined) return
    const now = this.now()
    backend.state.failures++
    backend.state.outcomes.record(false, now)
    this.#services.breaker.brokeOff(backend)
  }

  /** The attempt is over without an answer that anybody keeps: its backend is free, the request goes on. */
  disembark(): void {
    this.judge("ignored")
    this.#hangUp()
    this.upstream += this.now() - this.sentAt
    this.#release()
    this.atEase()
  }

  /** Everything is given back. Calling it again is harmless. */
  land(): void {
    if (this.#landed) return
    this.#landed = true
    const { admission, deadlines } = this.#services
    deadlines.remove(this)
    this.#hangUp()
    this.judge("ignored")
    this.keyUse?.settle(this.#tokensUsed())
    this.#release()
    if (this.#permitted) admission.leave(this.pool.name, this.pool.config.admission.maxConcurrent)
  }

  /** `undefined` where nobody told; who was never sent to a backend has used none. */
  #tokensUsed(): number | undefined {
    if (this.usage !== undefined) return this.usage.prompt + this.usage.completion
    return this.attempts === 0 ? 0 : undefined
  }

  /** Ends the exchange, if it has not ended: one whose head has come in the very moment that nobody waits for it, too. */
  #hangUp(): void {
    if (this.#response === undefined) this.#abort?.(givenUp)
    else this.#response.cancel()
    this.#response = undefined
    this.#abort = undefined
  }

  #release(): void {
    if (this.lease === undefined) return
    this.lease.release()
    this.lease = undefined
    this.#services.admission.poke()
  }
}

const givenUp = new UpstreamFailed({ kind: "reset", detail: "nobody waits for it any more" })
