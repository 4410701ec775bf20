/** Large bodies, made once and shared: what an engine sends, and what must arrive. */
import { createHash } from "node:crypto"
import { brotliCompressSync, constants, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib"
import * as fc from "fast-check"

export type Kind = "unary" | "stream" | "file" | "events"
export type Coding = "none" | "gzip" | "deflate" | "raw deflate" | "br" | "zstd"

const mebibyte = 1024 * 1024

/**
 * Blocks of 1 KiB, each with its number, so that a lost or a doubled one is seen; a quarter of each does not repeat, so that
 * to compress it takes little time and leaves much.
 */
const digits = (() => {
  const all = Buffer.alloc(64 * mebibyte, "0")
  const [random] = fc.sample(fc.uint8Array({ minLength: 65_521, maxLength: 65_521, size: "max" }), {
    numRuns: 1,
    seed: 4711
  })
  const some = Buffer.from(random ?? []).map((byte) => 48 + (byte % 10))
  for (let at = 0; at < all.length; at += 1024) {
    all.write(String(at).padStart(8, "0"), at, "latin1")
    const from = (at / 4) % (some.length - 248)
    all.set(some.subarray(from, from + 248), at + 8)
  }
  return all
})()

/** Of each size of a stream, how large one event is. */
const eventBytes = (bytes: number): number => {
  if (bytes <= mebibyte) return 1024
  if (bytes <= 4 * mebibyte) return 250_000
  return 8 * mebibyte
}

const plain = (kind: Kind, bytes: number): Buffer => {
  if (kind === "file") return digits.subarray(0, bytes)
  if (kind === "unary") return Buffer.concat([Buffer.from('{"data":"'), digits.subarray(0, bytes), Buffer.from('"}')])
  const each = eventBytes(bytes)
  const pieces: Array<Buffer> = []
  for (let at = 0; at < bytes; at += each) {
    pieces.push(Buffer.from('data: {"choices":[{"index":0,"delta":{"content":"'))
    pieces.push(digits.subarray(at, Math.min(bytes, at + each)), Buffer.from('"}}]}\n\n'))
  }
  const last = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
  return Buffer.concat([...pieces, Buffer.from(last)])
}

const compressed = (coding: Coding, bytes: Buffer): Buffer => {
  switch (coding) {
    case "none":
      return bytes
    case "gzip":
      return gzipSync(bytes, { level: 1 })
    case "deflate":
      return deflateSync(bytes, { level: 1 })
    case "raw deflate":
      return deflateRawSync(bytes, { level: 1 })
    case "br":
      return brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } })
    case "zstd":
      return zstdCompressSync(bytes)
  }
}

export const hashOf = (bytes: Uint8Array): string => createHash("sha1").update(bytes).digest("hex")

export interface Payload {
  readonly sent: Buffer
  /** Of what must arrive: by path as it was sent, else readable. */
  readonly expected: { readonly bytes: number; readonly hash: string }
}

export const payloadOf = (kind: Kind, bytes: number, coding: Coding): Payload => {
  const readable = plain(kind, bytes)
  const sent = compressed(coding, readable)
  const arrives = kind === "unary" || kind === "stream" ? readable : sent
  return { sent, expected: { bytes: arrives.length, hash: hashOf(arrives) } }
}
