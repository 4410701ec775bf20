/** Bytes at hand: pieces of a body, as one or in slices. */
import type { NonEmptyReadonlyArray } from "effect/Array"

export type Chunks = NonEmptyReadonlyArray<Uint8Array>

/** Several pieces as one; a single one is not copied. */
export const joined = (pieces: ReadonlyArray<Uint8Array>): Uint8Array => {
  const [first] = pieces
  return pieces.length === 1 && first !== undefined ? first : Buffer.concat(pieces)
}

/** The same bytes, not copied. */
export const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/**
 * A long body at hand in several pieces. Where a few of its bytes are others than the client's, the rest need not be
 * copied: that takes a millisecond for every two megabytes, for every name that a model is asked for by.
 */
export class Pieces {
  readonly all: ReadonlyArray<Uint8Array>
  /** Bytes. */
  readonly length: number

  constructor(all: ReadonlyArray<Uint8Array>) {
    this.all = all
    this.length = all.reduce((sum, { length }) => sum + length, 0)
  }
}

/** A body as parts of at most so many bytes, for work that must not take long at once. */
export function* slicesOf(body: Uint8Array | Pieces, bytes: number): Generator<Uint8Array> {
  for (const piece of body instanceof Pieces ? body.all : [body]) {
    for (let at = 0; at < piece.length; at += bytes) yield piece.subarray(at, at + bytes)
  }
}
