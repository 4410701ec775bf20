/**
 * The latest bytes of a stream, copied: kept by reference, each of dozens of pieces is three objects that the garbage
 * collector has to move, for every stream that is open.
 */
export class TailBuffer {
  readonly #limit: number
  #bytes = Buffer.alloc(0)
  #size = 0

  /** `limit`: so many of them are always there. */
  constructor(limit: number) {
    this.#limit = limit
  }

  /** How many have come, up to some more than the limit. */
  get size(): number {
    return this.#size
  }

  push(piece: Uint8Array): void {
    const latest = piece.length > this.#limit ? piece.subarray(-this.#limit) : piece
    if (this.#size + latest.length > this.#bytes.length) this.#makeRoom(latest.length)
    this.#bytes.set(latest, this.#size)
    this.#size += latest.length
  }

  /** The latest ones, up to the limit. Only good until more is pushed. */
  latest(): Buffer {
    return this.#bytes.subarray(Math.max(0, this.#size - this.#limit), this.#size)
  }

  /** Grows in few steps to twice the limit; from then on the latest move to the beginning, once for as many as are kept. */
  #makeRoom(needed: number): void {
    const before = this.latest()
    const enough = Math.max(512, this.#bytes.length * 4, before.length + needed)
    const bytes =
      this.#bytes.length < 2 * this.#limit ? Buffer.allocUnsafeSlow(Math.min(2 * this.#limit, enough)) : this.#bytes
    before.copy(bytes)
    this.#bytes = bytes
    this.#size = before.length
  }
}
