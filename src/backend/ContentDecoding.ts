/** An answer that came compressed although nobody asked for it, made readable again as it comes. */

import type { Transform } from "node:stream"
import { createBrotliDecompress, createUnzip, createZstdDecompress } from "node:zlib"
import { Effect } from "effect"
import type { NonEmptyArray } from "effect/Array"
import { BodyEnd, type Chunks, UpstreamFailed, type UpstreamResponse } from "./UpstreamTransport.ts"

const makeDecoder = (encoding: string): Transform | undefined => {
  switch (encoding.trim().toLowerCase()) {
    case "gzip":
    case "x-gzip":
    case "deflate":
      return createUnzip()
    case "br":
      return createBrotliDecompress()
    case "zstd":
      return createZstdDecompress()
    default:
      return undefined
  }
}

/** The same response without its content coding; one that has none, or one that we do not know, is left as it is. */
export const decodeContent = (response: UpstreamResponse): UpstreamResponse => {
  const encoding = response.headers["content-encoding"]
  const decoder = typeof encoding === "string" ? makeDecoder(encoding) : undefined
  if (decoder === undefined) return response
  const { "content-encoding": _coding, "content-length": _length, ...headers } = response.headers
  return {
    status: response.status,
    headers,
    read: decodedRead(response, decoder),
    cancel: () => {
      decoder.destroy()
      response.cancel()
    }
  }
}

const decodedRead = (response: UpstreamResponse, decoder: Transform): Effect.Effect<Chunks | BodyEnd> => {
  // Mutable: what the decoder has given out since it was last asked, and how the body ended.
  let out: Array<Uint8Array> = []
  let end: BodyEnd | undefined
  decoder.on("data", (piece: Uint8Array) => out.push(piece))
  // Without a listener an error would be thrown; the callbacks below hear of it.
  decoder.on("error", () => {})

  const take = (): Chunks | undefined => {
    const [first, ...rest] = out
    out = []
    return first === undefined ? undefined : ([first, ...rest] satisfies NonEmptyArray<Uint8Array>)
  }
  const corrupt = () => new BodyEnd(new UpstreamFailed({ kind: "protocol", detail: "content coding" }))

  const feed = (pieces: Chunks): Effect.Effect<BodyEnd | undefined> =>
    Effect.callback((resume) => {
      const all = Buffer.concat(pieces)
      decoder.write(all, (error) => resume(Effect.succeed(error ? corrupt() : undefined)))
    })
  const finish = (upstream: BodyEnd): Effect.Effect<BodyEnd> =>
    upstream.failure === undefined
      ? Effect.callback((resume) => {
          decoder.once("end", () => resume(Effect.succeed(upstream)))
          decoder.once("error", () => resume(Effect.succeed(corrupt())))
          decoder.end()
        })
      : Effect.succeed(upstream)

  return Effect.gen(function* () {
    for (;;) {
      const ready = take()
      if (ready !== undefined) return ready
      if (end !== undefined) return end
      const read = yield* response.read
      end = read instanceof BodyEnd ? yield* finish(read) : yield* feed(read)
    }
  })
}
