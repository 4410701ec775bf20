/** A body on its way to a client: what comes is seen as it goes by, and the next of it awaited. */
import { Effect } from "effect"
import type { StreamEnd } from "../protocol/StreamError.ts"
import { pipeStream } from "../transport/Body.ts"
import type { BodySink, ExchangeFailed } from "../transport/UpstreamTransport.ts"
import { cutDocument, type UpstreamAnswer } from "./UpstreamAnswer.ts"

/** Writes a body to a sink, to its end. Its failure means: break the connection, the rest will not come. */
export type StreamBody = (sink: BodySink) => Effect.Effect<void, ExchangeFailed>

/** A body of which only the connection tells whether it is complete: if not, the client's connection is broken too. */
export const plainBody =
  (answer: UpstreamAnswer, ended: (end: StreamEnd) => void): StreamBody =>
  (sink) =>
    Effect.suspend(() => {
      const { attempt, balance, held, response, streams } = answer
      for (const piece of held) sink.write(piece)
      attempt.awaitPiece(streams)
      const observe = balance && ((piece: Uint8Array) => balance.push(piece))
      const pipe = attempt.isByPath ? pipeStream(response.stream) : response.pipe
      return Effect.flatMap(pipe(observedSink(answer, sink, observe)), (end) => {
        attempt.atEase()
        const failure = end.failure ?? (balance?.isWhole === false ? cutDocument : undefined)
        if (failure === undefined) {
          ended("complete")
          return Effect.void
        }
        ended(attempt.expired === undefined ? "upstream_truncated" : "upstream_timeout")
        if (attempt.expired === undefined) attempt.brokeOff()
        return Effect.fail(failure)
      })
    })

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
