/** A body on its way to a client: what comes is seen as it goes by, and the next of it awaited. */
import { Effect } from "effect"
import type { StreamEnd } from "../protocol/StreamError.ts"
import { pipeStream } from "../transport/Body.ts"
import type { BodySink, ExchangeFailed } from "../transport/UpstreamTransport.ts"
import { cutDocument, type UpstreamAnswer } from "./UpstreamAnswer.ts"

/** A body that is written to a sink, to its end. A failure means: break the connection, the rest will not come. */
export interface StreamBody {
  readonly pipe: (sink: BodySink) => Effect.Effect<void, ExchangeFailed>
  /** The same for what has no fiber; `undefined` where only a fiber can do it. */
  readonly pour: ((sink: BodySink, poured: Poured) => void) | undefined
  /** Nothing more is written or told. */
  readonly letGo: () => void
}

/** What is told of a body that is poured: one of these, once, unless it is let go before. */
export interface Poured {
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
export const watchedBody = ({ answer, begin, finish, observe }: Watched): StreamBody => {
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
    pour:
      direct &&
      ((sink, { died, ended }) => {
        if (!begin(sink)) return ended(finish(sink, undefined))
        direct.pour(observedSink(answer, sink, observe), { ended: (end) => ended(finish(sink, end.failure)), died })
      }),
    letGo: () => direct?.letGo()
  }
}

/** A body of which only the connection tells whether it is complete: if not, the client's connection is broken too. */
export const plainBody = (answer: UpstreamAnswer, ended: (end: StreamEnd) => void): StreamBody => {
  const { attempt, balance, held, streams } = answer
  return watchedBody({
    answer,
    begin: (sink) => {
      for (const piece of held) sink.write(piece)
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
  pour: (_sink, { ended }) => ended(undefined),
  letGo: () => {}
}

/** Lets an observer see each piece; the next one is awaited, but not while the client takes its time with the last. */
export const observedSink = (
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
export const maxEndMillis = 1000
