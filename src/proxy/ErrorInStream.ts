/** An error that a backend told under a head that said 200, as the answer that it ought to have been. */
import { Effect } from "effect"
import type { Chunks } from "../domain/Bytes.ts"
import type { StreamedError } from "../protocol/StreamedError.ts"
import { bodyByReading } from "../transport/Body.ts"
import { BodyEnd, type UpstreamResponse } from "../transport/UpstreamTransport.ts"

/** What was a stream is given up; what is judged, retried or passed on is `response`. */
export class ErrorInStream {
  readonly response: UpstreamResponse
  constructor(stream: UpstreamResponse, error: StreamedError) {
    const { "content-encoding": _coding, "content-length": _length, ...headers } = stream.headers
    let body: Buffer | undefined = Buffer.from(error.body, "utf8")
    const read = Effect.sync((): Chunks | BodyEnd => {
      const piece = body
      body = undefined
      return piece === undefined ? ended : [piece]
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

const ended = new BodyEnd(undefined)
