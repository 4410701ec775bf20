/** An attempt that is not worth keeping, if another one can be made. */
import type { UpstreamFailed, UpstreamResponse } from "../transport/UpstreamTransport.ts"
import type { Attempt } from "./Attempt.ts"
import type { UpstreamAnswer } from "./UpstreamAnswer.ts"

export class AttemptFailed {
  readonly _tag = "AttemptFailed"
  readonly attempt: Attempt
  /** `transport`: no answer, or one that broke off before anything was committed. */
  readonly why: "transport" | "back_pressure" | "backend_fault" | "refused" | "refused_credential"
  /** A label for metrics: a status, or a kind of failure. */
  readonly reason: string
  readonly failure: UpstreamFailed | undefined
  /** What the backend said, if it said anything: a head, or an answer that was read already. */
  readonly said: UpstreamResponse | UpstreamAnswer | undefined

  constructor(
    attempt: Attempt,
    why: AttemptFailed["why"],
    reason: string,
    failure: UpstreamFailed | undefined,
    said: UpstreamResponse | UpstreamAnswer | undefined
  ) {
    this.attempt = attempt
    this.why = why
    this.reason = reason
    this.failure = failure
    this.said = said
  }

  /** The status of what it said; 0 where it said nothing. */
  get status(): number {
    if (this.said === undefined) return 0
    return "response" in this.said ? this.said.response.status : this.said.status
  }

  /** A silent backend has cost the client its patience. */
  get isSilence(): boolean {
    return this.failure?.kind === "timeout" && this.attempt.expired === "first_byte"
  }

  /** A whole answer that ran into its bound would take as long again. */
  get tookTooLong(): boolean {
    return this.failure?.kind === "timeout" && this.attempt.expired === "request"
  }
}
