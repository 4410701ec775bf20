/** A stream of events on its way to a client. It ends complete, or in an event that says why it does not. */
import { Effect } from "effect"
import type { StreamEndDetector } from "../protocol/StreamEndDetector.ts"
import type { StreamEnd } from "../protocol/StreamError.ts"
import { errorEvent, stopMessage } from "../protocol/StreamError.ts"
import type { StreamedError } from "../protocol/StreamedError.ts"
import { type BodySink, UpstreamFailed } from "../transport/UpstreamTransport.ts"
import type { Answer } from "./AnswerReading.ts"
import type { RequestPlan } from "./RequestPlan.ts"
import type { ContentRecorder } from "./RequestTrace.ts"
import { endPatienceMillis, type StreamBody, watched } from "./StreamBody.ts"

/** What watches a stream of events go by, and is told of what becomes of it. */
export interface Events {
  readonly detector: StreamEndDetector
  readonly recorder: ContentRecorder | undefined
  /** Milliseconds between two pieces. */
  readonly gap: (millis: number) => void
  /** The first output has come. */
  readonly spoke: (now: number) => void
  /** Whether an error that the backend told in its stream is its own fault. */
  readonly failed: (error: StreamedError) => boolean
  readonly ended: (end: StreamEnd) => void
}

export interface EventBody {
  readonly relayed: StreamBody
  /**
   * For a stream that is given up by the gateway itself while it runs: what is to be said at its end, where its client is
   * still there. `undefined`: the end of the connection has to tell.
   */
  readonly lastWords: (() => Uint8Array | undefined) | undefined
}

/** Events: a cut ends in an event that says so, and in an orderly end of the response. */
export const eventBody = (mission: RequestPlan, answer: Answer, events: Events): EventBody => {
  // Not kept as a whole: the request's body would be in memory with it.
  const { dialect, state: flight, passedThrough } = mission
  const { attempt, complete, held, response } = answer
  const { ended, failed, gap, detector: judge, recorder, spoke } = events
  const { health } = attempt.member.backend.state

  let isOver = false

  const finish = (sink: BodySink, failure: UpstreamFailed | undefined): Effect.Effect<void, UpstreamFailed> => {
    isOver = true
    judge.end()
    const outcome = judgeEnd(judge, failure, attempt.expired !== undefined)
    ended(outcome)
    if (outcome === "complete") return Effect.void
    const { error } = judge
    const isBlamed = error === undefined ? outcome !== "upstream_timeout" : failed(error)
    if (isBlamed) attempt.brokeOff()
    // The client knows already.
    if (error !== undefined && (failure === undefined || dialect !== "none")) return Effect.void
    // What is passed through by path speaks a dialect that we do not know: there the connection must tell.
    if (dialect === "none") return Effect.fail(failure ?? cutOff)
    sink.write(errorEvent(dialect, outcome, judge.atLineEnd))
    return Effect.void
  }
  const relayed: StreamBody = (sink) =>
    Effect.suspend(() => {
      let lastAt = flight.now()
      let hasSpoken = judge.hasOutput || passedThrough
      if (hasSpoken) spoke(lastAt)
      for (const piece of held) {
        recorder?.push(piece)
        sink.write(piece)
      }
      if (complete) return finish(sink, undefined)
      const observe = (piece: Uint8Array, now: number) => {
        gap(now - lastAt)
        lastAt = now
        health.lastDelivery = now
        judge.push(piece)
        recorder?.push(piece)
        if (hasSpoken || !judge.hasOutput) return
        hasSpoken = true
        spoke(now)
      }
      if (judge.saidAll) attempt.awaitEnd(endPatienceMillis, lastAt)
      else attempt.awaitPiece(true, lastAt)
      return Effect.flatMap(response.pipe(watched(answer, sink, observe)), (end) => finish(sink, end.failure))
    })
  const lastWords = () => {
    if (isOver) return undefined
    isOver = true
    response.cancel()
    const isComplete = judge.error === undefined && judge.saidAll
    ended(isComplete ? "complete" : "upstream_error")
    return isComplete || judge.error !== undefined
      ? undefined
      : errorEvent(dialect, "upstream_error", judge.atLineEnd, stopMessage)
  }
  // As above: a dialect that we do not know has no last words.
  return { relayed, lastWords: dialect === "none" ? undefined : lastWords }
}

const cutOff = new UpstreamFailed({ kind: "reset", detail: "the stream ended without its end" })

const judgeEnd = (
  judge: StreamEndDetector,
  failure: UpstreamFailed | undefined,
  expired: boolean
): Exclude<StreamEnd, "client_gone"> => {
  if (judge.error !== undefined) return "upstream_error"
  if (judge.saidAll) return "complete"
  if (failure === undefined) return judge.verdict() === "truncated" ? "upstream_truncated" : "complete"
  if (expired) return "upstream_timeout"
  return failure.kind === "reset" ? "upstream_truncated" : "upstream_error"
}
