/** An answer that came compressed although it was not asked to, made readable again as it comes. */

import type { Transform } from "node:stream"
import { createBrotliDecompress, createInflateRaw, createUnzip, createZstdDecompress } from "node:zlib"
import { Effect } from "effect"
import { type Chunks, joined } from "../domain/Bytes.ts"
import { bodyByReading } from "./Body.ts"
import { BodyEnd, UpstreamFailed, type UpstreamResponse } from "./UpstreamTransport.ts"

/** By the first byte of what is to be decoded. */
type MakeDecoder = (first: number) => Transform

/**
 * What servers call deflate is that with the wrapping of zlib, as HTTP has it, or without. Deflate itself never begins
 * with these bits: they would be a stored block with padding that is not zero (8), or a kind of block that there is not.
 */
const inflate: MakeDecoder = (first) => ((first & 0x0f) === 8 || first === 0x1f ? createUnzip() : createInflateRaw())

const decoderFor = (encoding: string): MakeDecoder | undefined => {
  switch (encoding.trim().toLowerCase()) {
    case "gzip":
    case "x-gzip":
      return () => createUnzip()
    case "deflate":
      return inflate
    case "br":
      return () => createBrotliDecompress()
    case "zstd":
      return () => createZstdDecompress()
    default:
      return undefined
  }
}

/** The same response without its content coding; one that has none, or one that we do not know, is left as it is. */
export const decodeContent = (response: UpstreamResponse): UpstreamResponse => {
  const encoding = response.headers["content-encoding"]
  const makeDecoder = typeof encoding === "string" ? decoderFor(encoding) : undefined
  if (makeDecoder === undefined) return response
  const { "content-encoding": _coding, "content-length": _length, ...headers } = response.headers
  const body = new DecodedBody(response, makeDecoder)
  return {
    status: response.status,
    headers,
    ...bodyByReading(body.read, body.cancel),
    wake: () => response.wake()
  }
}

const nobodyWaits = () => {}

/**
 * Decodes as much as is asked for: what was not read waits compressed, so that a small answer that would become a huge
 * one costs no memory. Mutable by nature: one fiber reads, the decoder's callbacks write.
 */
class DecodedBody {
  readonly #response: UpstreamResponse
  readonly #makeDecoder: MakeDecoder
  /** From the first byte on. */
  #decoder: Transform | undefined
  #writing = false
  #phase: "decoding" | "ended" | "corrupt" | "closed" = "decoding"
  #upstream: BodyEnd | undefined
  #end: BodyEnd | undefined
  #wake = nobodyWaits

  constructor(response: UpstreamResponse, makeDecoder: MakeDecoder) {
    this.#response = response
    this.#makeDecoder = makeDecoder
  }

  readonly cancel = (): void => {
    this.#decoder?.destroy()
    this.#response.cancel()
  }

  readonly read: Effect.Effect<Chunks | BodyEnd> = Effect.gen({ self: this }, function* () {
    for (;;) {
      if (this.#end !== undefined) return this.#end
      const piece: Uint8Array | null = this.#decoder?.read() ?? null
      if (piece !== null) return [piece] as const
      this.#end = this.#endNow()
      if (this.#end !== undefined) {
        this.#decoder?.destroy()
        return this.#end
      }
      if (this.#phase === "decoding" && (this.#writing || this.#upstream !== undefined)) {
        yield* this.#untilSomethingHappens()
        continue
      }
      const read = yield* this.#response.read
      if (read instanceof BodyEnd) {
        this.#upstream = read
        if (read.failure === undefined) this.#decoder?.end()
        continue
      }
      const coded = joined(read)
      // The reader was woken.
      if (coded.length === 0) return [coded] as const
      if (this.#phase === "decoding") this.#feed(coded)
    }
  })

  #untilSomethingHappens(): Effect.Effect<void> {
    return Effect.callback((resume) => {
      this.#wake = () => resume(Effect.void)
      if (!this.#isIdle()) this.#wake()
      return Effect.sync(() => {
        this.#wake = nobodyWaits
      })
    })
  }

  #isIdle(): boolean {
    return (
      (this.#decoder?.readableLength ?? 0) === 0 &&
      (this.#writing || this.#upstream !== undefined) &&
      this.#phase === "decoding"
    )
  }

  #feed(piece: Uint8Array): void {
    const [first] = piece
    if (first === undefined) return
    this.#decoder ??= this.#begin(first)
    this.#writing = true
    this.#decoder.write(piece, () => {
      this.#writing = false
      this.#wake()
    })
  }

  #begin(first: number): Transform {
    const decoder = this.#makeDecoder(first)
    const becomes = (next: "ended" | "corrupt" | "closed") => () => {
      if (this.#phase === "decoding") this.#phase = next
      this.#wake()
    }
    decoder.on("readable", () => this.#wake())
    decoder.on("end", becomes("ended"))
    decoder.on("error", becomes("corrupt"))
    decoder.on("close", becomes("closed"))
    return decoder
  }

  /** Nothing is left to be read; `undefined`: something may still come of it. */
  #endNow(): BodyEnd | undefined {
    const upstream = this.#upstream
    switch (this.#phase) {
      case "corrupt":
        this.#response.cancel()
        return new BodyEnd(new UpstreamFailed({ kind: "protocol", detail: "content coding" }))
      case "ended":
        // More than the coding's own end says belongs to nothing.
        return upstream
      case "closed":
        return upstream ?? new BodyEnd(undefined)
      case "decoding":
        return !this.#writing && (upstream?.failure !== undefined || this.#decoder === undefined) ? upstream : undefined
    }
  }
}
