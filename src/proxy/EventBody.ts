/** A stream of events on its way to a client. It ends complete, or in an event that says why it does not. */
import type { StreamEndDetector } from "../protocol/StreamEndDetector.ts"
import type { StreamEnd } from "../protocol/StreamError.ts"
import { errorEvent, stopMessage } from "../protocol/StreamError.ts"
import type { StreamedError } from "../protocol/StreamedError.ts"
import { type ExchangeFailed, UpstreamFailed } from "../transport/UpstreamTransport.ts"
import type { RequestPlan } from "./RequestPlan.ts"
import type { ContentRecorder } from "./RequestTrace.ts"
import { maxEndMillis, type StreamBody, watchedBody } from "./StreamBody.ts"
import type { UpstreamAnswer } from "./UpstreamAnswer.ts"

/** What watches a stream of events go by, and is told of what becomes of it. */
export interface Events {
  readonly detector: StreamEndDetector
  readonly recorder: ContentRecorder | undefined
  /** Milliseconds between two pieces. */
  readonly gap: (millis: number) => void
  /** The first output has come. */
  readonly onFirstOutput: (now: number) => void
  /** Whether an error that the backend told in its stream is its own fault. */
  readonly failed: (error: StreamedError) => boolean
  readonly ended: (end: StreamEnd) => void
}

export interface EventBody {
  readonly body: StreamBody
  /**
   * For a stream that is given up by the gateway itself while it runs: what is to be said at its end, where its client is
   * still there. `undefined`: the end of the connection has to tell.
   */
  readonly finalEvent: (() => Uint8Array | undefined) | undefined
}

/** Events: a cut ends in an event that says so, and in an orderly end of the response. */
export const eventBody = (plan: RequestPlan, answer: UpstreamAnswer, events: Events): EventBody => {
  const { dialect, passedThrough } = plan
  const { attempt, complete, held, response } = answer
  const { ended, failed, gap, detector, recorder, onFirstOutput } = events
  const { health } = attempt.member.backend.state

  let isOver = false
  let lastAt = 0
  let hasOutput = false

  const body = watchedBody({
    answer,
    begin: (sink) => {
      lastAt = attempt.now()
      hasOutput = detector.hasOutput || passedThrough
      if (hasOutput) onFirstOutput(lastAt)
      for (const piece of held) {
        recorder?.push(piece)
        sink.write(piece)
      }
      if (complete) return false
      if (detector.saidAll) attempt.awaitEnd(maxEndMillis, lastAt)
      else attempt.awaitPiece(true, lastAt)
      return true
    },
    observe: (piece, now) => {
      gap(now - lastAt)
      lastAt = now
      health.lastDelivery = now
      detector.push(piece)
      recorder?.push(piece)
      if (hasOutput || !detector.hasOutput) return
      hasOutput = true
      onFirstOutput(now)
    },
    finish: (sink, failure) => {
      isOver = true
      detector.end()
      const outcome = endOf(detector, failure, attempt.expired !== undefined)
      ended(outcome)
      if (outcome === "complete") return undefined
      const { error } = detector
      const isBlamed = error === undefined ? outcome !== "upstream_timeout" : failed(error)
      if (isBlamed) attempt.brokeOff()
      // The client knows already.
      if (error !== undefined && (failure === undefined || dialect !== "none")) return undefined
      // What is passed through by path speaks a dialect that we do not know: there the connection must tell.
      if (dialect === "none") return failure ?? cutOff
      sink.write(errorEvent(dialect, outcome, detector.atLineEnd))
      return undefined
    }
  })
  const finalEvent = () => {
    if (isOver) return undefined
    isOver = true
    response.cancel()
    const isComplete = detector.error === undefined && detector.saidAll
    ended(isComplete ? "complete" : "upstream_error")
    return isComplete || detector.error !== undefined
      ? undefined
      : errorEvent(dialect, "upstream_error", detector.atLineEnd, stopMessage)
  }
  // As above: a dialect that we do not know gets no final event.
  return { body, finalEvent: dialect === "none" ? undefined : finalEvent }
}

const cutOff = new UpstreamFailed({ kind: "reset", detail: "the stream ended without its end" })

const endOf = (
  detector: StreamEndDetector,
  failure: ExchangeFailed | undefined,
  expired: boolean
): Exclude<StreamEnd, "client_gone"> => {
  if (detector.error !== undefined) return "upstream_error"
  if (detector.saidAll) return "complete"
  if (failure === undefined) return detector.outcome() === "truncated" ? "upstream_truncated" : "complete"
  if (expired) return "upstream_timeout"
  return failure.kind === "reset" ? "upstream_truncated" : "upstream_error"
}
