/** What comes of asking one backend once: an answer, an error in the place of one, or a failure. */
import { Effect } from "effect"
import type { Chunks } from "../domain/Bytes.ts"
import type { JsonBalance } from "../protocol/JsonBalance.ts"
import type { StreamEndDetector } from "../protocol/StreamEndDetector.ts"
import type { StreamedError } from "../protocol/StreamedError.ts"
import { bodyByReading } from "../transport/Body.ts"
import { BodyEnd, UpstreamFailed, type UpstreamResponse } from "../transport/UpstreamTransport.ts"
import type { Attempt } from "./Attempt.ts"

/** A head, and as much of the body as was read before anything had to be decided. */
export interface UpstreamAnswer {
  /** The attempt that brought it. */
  readonly attempt: Attempt
  readonly response: UpstreamResponse
  readonly held: ReadonlyArray<Uint8Array>
  /** Whether `held` is all of it. */
  readonly complete: boolean
  /** Whether its silence counts, and not how long it takes as a whole. */
  readonly streams: boolean
  /** For an answer that is a stream of events. */
  readonly detector: StreamEndDetector | undefined
  /** For a document whose end only the connection tells; it was told of what is held. */
  readonly balance: JsonBalance | undefined
}

/**
 * An error that a backend told under a head that said 200, as the answer that it ought to have been. What was a stream is
 * given up; what is classified, retried or passed on is `response`.
 */
export class ErrorInStream {
  readonly response: UpstreamResponse
  constructor(stream: UpstreamResponse, error: StreamedError) {
    const { "content-encoding": _coding, "content-length": _length, ...headers } = stream.headers
    let body: Buffer | undefined = Buffer.from(error.body, "utf8")
    const read = Effect.sync((): Chunks | BodyEnd => {
      const piece = body
      body = undefined
      return piece === undefined ? inOrder : [piece]
    })
    stream.cancel()
    this.response = {
      status: error.status,
      headers: { ...headers, "content-type": "application/json", "content-length": String(body.length) },
      ...bodyByReading(read, () => {}),
      wake: () => {}
    }
  }
}

const inOrder = new BodyEnd(undefined)

/** An attempt that is not worth keeping, if another one can be made. */
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

/** The end of a document whose end was a cut. */
export const cutDocument = new UpstreamFailed({
  kind: "reset",
  detail: "the connection ended in the middle of a document"
})
