/** What became of one request, written down on the way and read at its end: for the log, the metrics, the response. */

import type { StreamEnd } from "../protocol/StreamError.ts"
import type { Usage } from "../protocol/Usage.ts"
import type { ActiveSpan } from "../telemetry/Telemetry.ts"

/** Mutable by nature; one for each request. */
export class RequestReport {
  /** Monotonic milliseconds. */
  readonly receivedAt: number
  model: string | undefined
  pool: string | undefined
  backend: string | undefined
  attempts = 0
  /** Milliseconds. */
  queued = 0
  /** Milliseconds spent waiting for backends. */
  upstream = 0
  /** Milliseconds from the request to the first output of a stream. */
  firstOutput: number | undefined
  end: StreamEnd | undefined
  /** The gateway stopped while it ran, and told the client: a request that is interrupted then has not been left. */
  isStopped = false
  /** The `code` of the gateway's own error. */
  error: string | undefined
  /** Where the request is traced. */
  span: ActiveSpan | undefined
  usage: Usage | undefined

  constructor(receivedAt: number) {
    this.receivedAt = receivedAt
  }
}
