/** The forms of a body that can only be read. They share what was not read yet. */
import { Cause, Effect, type Pull, Stream } from "effect"
import { type Chunks, joined } from "../domain/Bytes.ts"
import { BodyEnd, type BodySink, type ExchangeFailed, type UpstreamResponse } from "./UpstreamTransport.ts"

type Body = Pick<UpstreamResponse, "cancel" | "direct" | "pipe" | "read" | "stream">

export const bodyByReading = (read: Body["read"], cancel: Body["cancel"]): Body => {
  const stream = streamByReading(read, cancel)
  return { read, stream, pipe: pipeStream(stream), cancel, direct: undefined }
}

/** What is read, as a stream. When that is over, however it ended, what was not read is given up. */
export const streamByReading = (read: Body["read"], cancel: Body["cancel"]): Body["stream"] => {
  const pull = Effect.filterOrElse(read, isMore, endOf)
  return Stream.ensuring(Stream.fromPull(Effect.succeed(pull)), Effect.sync(cancel))
}

const endOf = ({ failure }: BodyEnd): Pull.Pull<never, ExchangeFailed> =>
  failure === undefined ? Cause.done() : Effect.fail(failure)

const isMore = (read: Chunks | BodyEnd): read is Chunks => !(read instanceof BodyEnd)

/** A stream, handed over to a sink: what came in together is one piece. */
export const pipeStream =
  (stream: Body["stream"]): Body["pipe"] =>
  (sink) =>
    Stream.runForEachArray(stream, (pieces) => (sink.write(joined(pieces)) ? Effect.void : untilReady(sink))).pipe(
      Effect.match({ onFailure: (failure) => new BodyEnd(failure), onSuccess: () => new BodyEnd(undefined) })
    )

const untilReady = (sink: BodySink) =>
  Effect.callback<void>((resume) => {
    sink.onDrain(() => resume(Effect.void))
  })
