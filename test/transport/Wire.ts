/** What undici has on its side of an exchange. */
import type { Dispatcher } from "undici"
import type { Exchange } from "../../src/transport/Exchange.ts"

/** What it gives to steer a request with; notes what was asked of it. */
export class Controller implements Dispatcher.DispatchController {
  aborted = false
  paused = false
  reason: Error | null = null
  resumes = 0
  readonly rawHeaders = null
  readonly rawTrailers = null

  abort(reason: Error): void {
    this.aborted = true
    this.reason = reason
  }

  pause(): void {
    this.paused = true
  }

  resume(): void {
    this.paused = false
    this.resumes++
  }
}

/**
 * A connection as undici steers it: what has arrived is told piece by piece until it is told to stop; resumed at the very
 * end of what it had, its parser tells of a piece of no bytes, as llhttp does.
 */
export class Wire extends Controller {
  /** The end was told. */
  ended = false
  readonly #exchange: Exchange
  readonly #arrived: Array<Uint8Array> = []
  #ends = false
  #telling = false
  /** Stopped by the answer to the last piece, which is told only when its call returns. */
  #stopped = false

  constructor(exchange: Exchange) {
    super()
    this.#exchange = exchange
    exchange.onRequestStart(this)
    exchange.onResponseStart(this, 200, {})
  }

  arrive(piece: Uint8Array): void {
    this.#arrived.push(piece)
    this.#tell()
  }

  end(): void {
    this.#ends = true
    this.#tell()
  }

  override resume(): void {
    if (!this.paused) return
    super.resume()
    if (!this.#stopped) return
    this.#stopped = false
    this.#give(new Uint8Array(0))
    this.#tell()
  }

  #tell(): void {
    while (!this.#telling && !this.#stopped && !this.aborted) {
      const piece = this.#arrived.shift()
      if (piece === undefined) break
      this.#give(piece)
    }
    if (this.#telling || this.#stopped || this.aborted || !this.#ends || this.#arrived.length > 0) return
    this.#ends = false
    this.ended = true
    this.#exchange.onResponseEnd()
  }

  #give(piece: Uint8Array): void {
    this.#telling = true
    this.#exchange.onResponseData(this, piece)
    this.#telling = false
    this.#stopped = this.paused
  }
}
