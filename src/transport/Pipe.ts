/** A body that can only be read, handed over to a sink all the same. */
import { Effect } from "effect"
import { joined } from "../domain/Bytes.ts"
import { BodyEnd, type BodySink, type UpstreamResponse } from "./UpstreamTransport.ts"

export const pipeByReading =
  (read: UpstreamResponse["read"]): UpstreamResponse["pipe"] =>
  (sink) =>
    Effect.gen(function* () {
      for (;;) {
        const pieces = yield* read
        if (pieces instanceof BodyEnd) return pieces
        if (!sink.write(joined(pieces))) yield* untilReady(sink)
      }
    })

const untilReady = (sink: BodySink) =>
  Effect.callback<void>((resume) => {
    sink.onDrain(() => resume(Effect.void))
  })
