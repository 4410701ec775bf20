/**
 * One backend asked once: the lease that it holds, the exchange that it runs, how long each part of it may take, and what
 * it says of the backend. Ending it gives all of that back, however it ends.
 */
import type { Attributes } from "@opentelemetry/api"
import type { MonotonicClock } from "../domain/MonotonicClock.ts"
import type { BackendState, Fault, Member } from "../registry/Registry.ts"
import type { Admission } from "../resilience/Admission.ts"
import type { CallResult, CallRole, CircuitBreaker } from "../resilience/CircuitBreaker.ts"
import type { Timed, Timers } from "../resilience/Timers.ts"
import type { Lease } from "../scheduler/Scheduler.ts"
import type { ActiveSpan, Metrics, Tracing } from "../telemetry/Telemetry.ts"
import { type Abort, UpstreamFailed, type UpstreamResponse } from "../transport/UpstreamTransport.ts"
import type { RequestPlan } from "./RequestPlan.ts"
import { attemptAttributes } from "./RequestTrace.ts"

/** Which bound was reached: the client's own, or one of the backend's. */
export type Expired = "deadline" | "first_byte" | "idle" | "request"

/** One attempt that failed, and that is told later what its failure says of its backend. */
export interface Unresolved {
  readonly backend: BackendState
  /** Failures with equal text are alike: the status of an answer, or that the connection broke off. */
  readonly likeness: string
  /** To be called once. */
  readonly resolve: (fault: Fault) => void
}

export interface AttemptServices {
  readonly admission: Pick<Admission["Service"], "wake">
  readonly breaker: CircuitBreaker["Service"]
  readonly clock: MonotonicClock["Service"]
  readonly metrics: Metrics["Service"]
  readonly timers: Timers["Service"]
  readonly tracing: Tracing["Service"]
}

const never = Number.POSITIVE_INFINITY

/** Mutable by nature: written by the one fiber that runs it, and by the timers. */
export class Attempt implements Timed {
  readonly #services: AttemptServices
  readonly #plan: RequestPlan
  readonly lease: Lease
  sentAt = 0
  headAt = 0
  expired: Expired | undefined
  dueAt = never
  place: number | undefined

  #dueFor: Expired | "patience" = "deadline"
  /** When the attempt as a whole must be over. */
  #wholeBy = never
  readonly #role: CallRole
  #hasOutcome = false
  /** Failed, and it is not known yet whether that counts against the backend. */
  #isUnresolved = false
  #ended = false
  #abort: Abort | undefined
  #response: UpstreamResponse | undefined
  #span: ActiveSpan | undefined
  #error: string | undefined

  constructor(services: AttemptServices, plan: RequestPlan, lease: Lease) {
    this.#services = services
    this.#plan = plan
    this.lease = lease
    this.#role = services.breaker.begin(lease.member.backend, lease.isLastResort)
    services.timers.add(this)
  }

  get member(): Member {
    return this.lease.member
  }

  /** The request goes out; the head of an answer is awaited, or the whole of one that does not stream. */
  sent(number: number): void {
    const { pool, request, streaming, trace } = this.#plan
    const { backend, timeouts } = this.member
    this.sentAt = this.now()
    backend.state.requests++
    this.#services.metrics.upstreamRequests({ pool: pool.name, backend: backend.name })(1)
    if (trace !== undefined) {
      const attributes = attemptAttributes(trace, this.member, request.method, number)
      this.#span = this.#services.tracing.attempt(trace.span, trace.name, attributes)
    }
    const bounded = !streaming || !pool.config.client.stream
    this.#wholeBy = bounded ? this.sentAt + timeouts.request : never
    this.#within(streaming ? timeouts.firstByte : timeouts.firstByteOfWhole, "first_byte", this.sentAt)
  }

  readonly onStart = (abort: Abort): void => {
    this.#abort = abort
  }

  /** The backend has answered with a head. */
  arrive(response: UpstreamResponse): void {
    this.headAt = this.now()
    this.#response = response
    if (this.#span === undefined) return
    this.#span.set({ "http.response.status_code": response.status })
    if (response.status >= 400) this.#error = String(response.status)
  }

  /** What the backend is to know of the trace that it takes part in; `undefined` where there is none. */
  get traceparent(): string | undefined {
    return this.#span?.traceparent
  }

  /** For its span, where it has one. */
  tell(attributes: Attributes, error: string | undefined): void {
    this.#span?.set(attributes)
    this.#error ??= error
  }

  /** The answer streams, whether or not that was asked for: its first output is awaited, and not the whole of it. */
  awaitOutput(now = this.now()): void {
    if (this.#plan.pool.config.client.stream) this.#wholeBy = never
    this.#within(this.member.timeouts.firstByte, "first_byte", now)
  }

  /** The same, but what reads the answer is woken after so many milliseconds. */
  awaitOutputFor(patience: number, now: number): void {
    this.awaitOutput(now)
    if (now + patience >= this.dueAt) return
    this.dueAt = now + patience
    this.#dueFor = "patience"
  }

  /** More of an answer that does not stream is awaited: something has come of it. */
  awaitMore(now = this.now()): void {
    this.#within(this.member.timeouts.firstByteOfWhole, "first_byte", now)
  }

  /** The next piece of a body is awaited; `streams`: its silence counts, else only the whole does. */
  awaitPiece(streams: boolean, now = this.now()): void {
    this.#within(streams ? this.member.timeouts.idle : never, "idle", now)
  }

  /** The rest of an exchange that is as good as over: silence of so many milliseconds ends it. */
  awaitEnd(limit: number, now = this.now()): void {
    this.#within(limit, "idle", now)
  }

  /** Nothing is awaited from the backend; only the request's own deadline counts. */
  atEase(): void {
    this.#dueFor = "deadline"
    this.dueAt = this.#plan.deadline
  }

  #within(limit: number, reason: Expired, from: number): void {
    const { deadline } = this.#plan
    const due = Math.min(from + limit, this.#wholeBy, deadline)
    this.dueAt = due
    this.#dueFor = due === deadline ? "deadline" : due === this.#wholeBy ? "request" : reason
  }

  readonly expire = (now: number): void => {
    if (this.#dueFor === "patience") {
      this.awaitOutput(now)
      this.#response?.wake()
      return
    }
    this.expired = this.#dueFor
    this.#abort?.(new UpstreamFailed({ kind: "timeout", detail: this.#dueFor }))
  }

  /** Whether the request goes by path: then nothing counts but a refused connection. */
  get isByPath(): boolean {
    return this.#plan.model === undefined
  }

  /** What this attempt says of its backend; the first word counts. */
  recordOutcome(result: CallResult): void {
    if (this.#hasOutcome) return
    this.#hasOutcome = true
    const { backend } = this.member
    if (this.#isUnresolved) backend.state.unresolved--
    this.#services.breaker.end(backend, this.#role, result)
    if (result === "ignored") return
    backend.state.outcomes.record(result === "success", this.now())
    if (result !== "success") backend.state.failures++
  }

  /** It failed. Whether that counts is known when the request's fate is: until then its backend is asked last. */
  failed(result: "failure" | "broken", likeness: string): Unresolved {
    const { backend } = this.member
    this.#isUnresolved = true
    backend.state.unresolved++
    return {
      backend: backend.state,
      likeness,
      resolve: (fault) => {
        const counts = backend.state.isAtFault(fault, this.now())
        this.recordOutcome(counts ? result : "ignored")
        if (counts && result === "broken") backend.state.health.broke(backend.probing)
      }
    }
  }

  /** An exchange that had counted as a success failed all the same: it broke off, or ended in an error of the backend. */
  brokeOff(): void {
    if (this.isByPath) return
    const { backend } = this.member
    backend.state.failures++
    backend.state.outcomes.failedAfterAll(this.now())
    this.#services.breaker.brokeOff(backend)
  }

  /** Whatever still runs is cancelled, and the backend is free. Calling it again is harmless. */
  end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#services.timers.remove(this)
    // One whose head has come in the very moment in which nothing waits for it any more is hung up on, too.
    if (this.#response === undefined) this.#abort?.(givenUp)
    else this.#response.cancel()
    this.#response = undefined
    this.#abort = undefined
    if (!this.#isUnresolved) this.recordOutcome("ignored")
    this.#span?.end(this.#error)
    this.lease.release()
    this.#services.admission.wake()
  }

  now(): number {
    return this.#services.clock.now()
  }
}

const givenUp = new UpstreamFailed({ kind: "reset", detail: "nobody waits for it any more" })
