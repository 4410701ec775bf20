/**
 * Where a body goes to its client: in slices, the next one when the one before has been taken. However much is handed over
 * at once, what a slow client takes of it can be seen, and little of it is copied to where it waits.
 */
import type { BodySink } from "../../proxy/Proxy.ts"
import type { OutgoingResponse } from "../Incoming.ts"

/** Bytes; of a client that takes as many in a minute it can be seen that it takes some. */
export const sliceBytes = 64 * 1024

type Taker = Pick<OutgoingResponse, "once" | "write">

/** Mutable by nature: written by what brings the body, and by the socket's callbacks. */
export class Outlet implements BodySink {
  readonly #response: Taker
  #waiting: Array<Uint8Array> = []
  #isFull = false
  #onReady: (() => void) | undefined

  constructor(response: Taker) {
    this.#response = response
  }

  /** Nothing waits here any more: the response can be ended. */
  get isEmpty(): boolean {
    return this.#waiting.length === 0
  }

  write(piece: Uint8Array): boolean {
    if (!this.#isFull && piece.length <= sliceBytes) this.#write(piece)
    else {
      this.#waiting.push(piece)
      if (!this.#isFull) this.#writeOn()
    }
    return !this.#isFull
  }

  onDrain(ready: () => void): void {
    if (this.#isFull) this.#onReady = ready
    else ready()
  }

  #write(slice: Uint8Array): void {
    if (this.#response.write(slice)) return
    this.#isFull = true
    this.#response.once("drain", () => {
      this.#isFull = false
      this.#writeOn()
    })
  }

  #writeOn(): void {
    while (!this.#isFull) {
      const [piece] = this.#waiting
      if (piece === undefined) break
      if (piece.length > sliceBytes) this.#waiting[0] = piece.subarray(sliceBytes)
      else this.#waiting.shift()
      this.#write(piece.subarray(0, sliceBytes))
    }
    if (this.#isFull) return
    const ready = this.#onReady
    this.#onReady = undefined
    ready?.()
  }
}
