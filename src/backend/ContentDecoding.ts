/** An answer that came compressed although nobody asked for it, made readable again as it comes. */

import type { Transform } from "node:stream"
import { createBrotliDecompress, createUnzip, createZstdDecompress } from "node:zlib"
import { Effect } from "effect"
import { pourByReading } from "./Pour.ts"
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
  const read = decodedRead(response, decoder)
  return {
    status: response.status,
    headers,
    read,
    pour: pourByReading(read),
    cancel: () => {
      decoder.destroy()
      response.cancel()
    }
  }
}

const nobodyWaits = () => {}

/**
 * Decodes as much as is asked for: what was not read waits compressed, so that a small answer that would become a huge
 * one costs no memory.
 */
const decodedRead = (response: UpstreamResponse, decoder: Transform): Effect.Effect<Chunks | BodyEnd> => {
  // Mutable: one fiber reads, the decoder's callbacks write.
  let begun = false
  let writing = false
  let phase: "decoding" | "ended" | "corrupt" | "closed" = "decoding"
  let upstream: BodyEnd | undefined
  let end: BodyEnd | undefined
  let wake = nobodyWaits
  const becomes = (next: typeof phase) => () => {
    if (phase === "decoding") phase = next
    wake()
  }
  decoder.on("readable", () => wake())
  decoder.on("end", becomes("ended"))
  decoder.on("error", becomes("corrupt"))
  decoder.on("close", becomes("closed"))

  const isIdle = () => decoder.readableLength === 0 && (writing || upstream !== undefined) && phase === "decoding"
  const untilSomethingHappens = Effect.callback<void>((resume) => {
    wake = () => resume(Effect.void)
    if (!isIdle()) wake()
    return Effect.sync(() => {
      wake = nobodyWaits
    })
  })
  const feed = (pieces: Chunks): void => {
    begun = true
    writing = true
    decoder.write(Buffer.concat(pieces), () => {
      writing = false
      wake()
    })
  }
  /** Nothing is left to be read; `undefined`: something may still come of it. */
  const endNow = (): BodyEnd | undefined => {
    switch (phase) {
      case "corrupt":
        response.cancel()
        return new BodyEnd(new UpstreamFailed({ kind: "protocol", detail: "content coding" }))
      case "ended":
        // More than the coding's own end says is nobody's.
        return upstream
      case "closed":
        return upstream ?? new BodyEnd(undefined)
      case "decoding":
        return upstream !== undefined && !writing && (upstream.failure !== undefined || !begun) ? upstream : undefined
    }
  }

  return Effect.gen(function* () {
    for (;;) {
      if (end !== undefined) return end
      const piece: Uint8Array | null = decoder.read()
      if (piece !== null) return [piece] as const
      end = endNow()
      if (end !== undefined) {
        decoder.destroy()
        return end
      }
      if (phase === "decoding" && (writing || upstream !== undefined)) {
        yield* untilSomethingHappens
        continue
      }
      const read = yield* response.read
      if (read instanceof BodyEnd) {
        upstream = read
        if (begun && read.failure === undefined) decoder.end()
      } else if (phase === "decoding") feed(read)
    }
  })
}
