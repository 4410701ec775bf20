/**
 * A body on its way to a client: what comes is seen as it goes by, and the next of it awaited. A stream of events ends
 * complete, or in an event that says why it does not; of all else only the connection tells whether it is complete.
 */
import { Effect } from "effect"
import { joined } from "../domain/Bytes.ts"
import type { StreamEndDetector } from "../protocol/StreamEndDetector.ts"
import { errorEvent, type StreamEnd, stopMessage } from "../protocol/StreamError.ts"
import type { StreamedError } from "../protocol/StreamedError.ts"
import { pipeStream } from "../transport/Body.ts"
import { type BodySink, type ExchangeFailed, UpstreamFailed } from "../transport/UpstreamTransport.ts"
import type { RequestPlan } from "./RequestPlan.ts"
import type { ContentRecorder } from "./RequestTrace.ts"
import { cutDocument, type UpstreamAnswer } from "./UpstreamAnswer.ts"

/** A body that is written to a sink, to its end. A failure means: break the connection, the rest will not come. */
export interface StreamBody {
  readonly pipe: (sink: BodySink) => Effect.Effect<void, ExchangeFailed>
  /** The same for what has no fiber; `undefined` where only a fiber can do it. */
  readonly pipeTo: ((sink: BodySink, listener: BodyListener) => void) | undefined
  /** Nothing more is written or told. */
  readonly letGo: () => void
}

/** What is told of a body that is handed over: one of these, once, unless it is let go before. */
export interface BodyListener {
  readonly ended: (failure: ExchangeFailed | undefined) => void
  /** What writes it has thrown. */
  readonly died: (defect: unknown) => void
}

/** How a body is watched that is on its way. */
interface Watched {
  readonly answer: UpstreamAnswer
  /** What was read before is written, and the next piece awaited; `false`: that is all of it. */
  readonly begin: (sink: BodySink) => boolean
  readonly observe: ((piece: Uint8Array, now: number) => void) | undefined
  /** How it ended for the client; its last words are written here. */
  readonly finish: (sink: BodySink, failure: ExchangeFailed | undefined) => ExchangeFailed | undefined
}

/** A watched body in both of its forms. */
const watchedBody = ({ answer, begin, finish, observe }: Watched): StreamBody => {
  const { attempt, response } = answer
  const direct = attempt.isByPath ? undefined : response.direct
  const piped = (sink: BodySink) => (attempt.isByPath ? pipeStream(response.stream)(sink) : response.pipe(sink))
  const finished = (sink: BodySink, end: ExchangeFailed | undefined) => {
    const failure = finish(sink, end)
    return failure === undefined ? Effect.void : Effect.fail(failure)
  }
  return {
    pipe: (sink) =>
      Effect.suspend(() =>
        begin(sink)
          ? Effect.flatMap(piped(observedSink(answer, sink, observe)), (end) => finished(sink, end.failure))
          : finished(sink, undefined)
      ),
    pipeTo:
      direct &&
      ((sink, { died, ended }) => {
        if (!begin(sink)) return ended(finish(sink, undefined))
        direct.pipeTo(observedSink(answer, sink, observe), { ended: (end) => ended(finish(sink, end.failure)), died })
      }),
    letGo: () => direct?.letGo()
  }
}

/** Bytes that are copied to go out in one write. */
const maxJoinedBytes = 64 * 1024

/** What was held back goes out together. */
const writeHeld = (sink: BodySink, held: ReadonlyArray<Uint8Array>): void => {
  let size = 0
  for (const piece of held) size += piece.length
  if (size > maxJoinedBytes) for (const piece of held) sink.write(piece)
  else if (size > 0) sink.write(joined(held))
}

/** A body of which only the connection tells whether it is complete: if not, the client's connection is broken too. */
export const plainBody = (answer: UpstreamAnswer, ended: (end: StreamEnd) => void): StreamBody => {
  const { attempt, balance, held, streams } = answer
  return watchedBody({
    answer,
    begin: (sink) => {
      writeHeld(sink, held)
      attempt.awaitPiece(streams)
      return true
    },
    observe: balance && ((piece) => balance.push(piece)),
    finish: (_sink, broken) => {
      attempt.atEase()
      const failure = broken ?? (balance?.isWhole === false ? cutDocument : undefined)
      if (failure === undefined) ended("complete")
      else {
        ended(attempt.expired === undefined ? "upstream_truncated" : "upstream_timeout")
        if (attempt.expired === undefined) attempt.brokeOff()
      }
      return failure
    }
  })
}

/** The body of an answer that has none. */
export const noBody: StreamBody = {
  pipe: () => Effect.void,
  pipeTo: (_sink, { ended }) => ended(undefined),
  letGo: () => {}
}

/** Lets an observer see each piece; the next one is awaited, but not while the client takes its time with the last. */
const observedSink = (
  { attempt, detector, streams }: UpstreamAnswer,
  sink: BodySink,
  observe: ((piece: Uint8Array, now: number) => void) | undefined
): BodySink => {
  let isOver = detector?.saidAll ?? false
  return {
    write: (piece) => {
      const now = attempt.now()
      observe?.(piece, now)
      const isReady = sink.write(piece)
      const wasOver = isOver
      isOver ||= detector?.saidAll ?? false
      if (!isReady) attempt.atEase()
      else if (!isOver) attempt.awaitPiece(streams, now)
      else if (!wasOver) attempt.awaitEnd(maxEndMillis, now)
      return isReady
    },
    onDrain: (ready) =>
      sink.onDrain(() => {
        if (isOver) attempt.awaitEnd(maxEndMillis)
        else attempt.awaitPiece(streams)
        ready()
      })
  }
}

/** How long a connection may stay open after all was said: the client waits for its end, and nothing else is waited for. */
const maxEndMillis = 1000

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
      for (const piece of held) recorder?.push(piece)
      writeHeld(sink, held)
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
