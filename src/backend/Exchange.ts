/** One undici dispatch as an Effect: callbacks in, a head and a body to read out. */
import { Effect, Exit } from "effect"
import type { NonEmptyArray } from "effect/Array"
import type { Dispatcher } from "undici"
import { hadServed } from "./StaleConnection.ts"
import { toUpstreamFailed } from "./TransportFailure.ts"
import { BodyEnd, type Chunks, UpstreamFailed, type UpstreamResponse } from "./UpstreamTransport.ts"

/** Bytes that may wait for the reader before the socket is told to stop: what one slow client can cost. */
const highWaterMark = 64 * 1024

const inOrder = new BodyEnd(undefined)

/**
 * Mutable by nature: a socket's callbacks write, one fiber reads. How the exchange ends is decided once, by whoever
 * comes first: undici, a time-out, or a reader that has had enough.
 */
export class Exchange implements Dispatcher.DispatchHandler {
  readonly #onHead: (head: Exit.Exit<UpstreamResponse, UpstreamFailed>) => void
  #controller: Dispatcher.DispatchController | undefined
  #buffer: Array<Uint8Array> = []
  #buffered = 0
  #end: BodyEnd | undefined
  #hasHead = false
  #waiter: ((read: Effect.Effect<Chunks | BodyEnd>) => void) | undefined

  constructor(onHead: (head: Exit.Exit<UpstreamResponse, UpstreamFailed>) => void) {
    this.#onHead = onHead
  }

  /** Ends the exchange with a failure; what the backend still sends is not read. */
  readonly abort = (failure: UpstreamFailed): void => {
    if (this.#end !== undefined) return
    this.#fail(failure)
    this.#controller?.abort(failure)
  }

  /** Ends the exchange because nobody wants the rest. */
  readonly cancel = (): void => {
    if (this.#end !== undefined) return
    this.#buffer = []
    this.#buffered = 0
    this.#finish(inOrder)
    this.#controller?.abort(cancelled)
  }

  readonly read: Effect.Effect<Chunks | BodyEnd> = Effect.suspend(() => {
    if (this.#buffered > 0) return Effect.succeed(this.#take())
    if (this.#end !== undefined) return Effect.succeed(this.#end)
    return Effect.callback<Chunks | BodyEnd>((resume) => {
      this.#waiter = resume
      return Effect.sync(() => {
        this.#waiter = undefined
      })
    })
  })

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#end !== undefined) controller.abort(cancelled)
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | Array<string> | undefined>
  ): void {
    if (status < 200) return
    this.#hasHead = true
    // Of most answers all is there at once. Told after this turn, the reader finds the whole of it and need not wait thrice.
    queueMicrotask(() => this.#onHead(Exit.succeed({ status, headers, read: this.read, cancel: this.cancel })))
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Uint8Array): void {
    if (this.#end !== undefined) return
    const waiter = this.#waiter
    if (waiter !== undefined) {
      this.#waiter = undefined
      waiter(Effect.succeed([chunk]))
      return
    }
    this.#buffer.push(chunk)
    this.#buffered += chunk.length
    if (this.#buffered >= highWaterMark) controller.pause()
  }

  onResponseEnd(): void {
    this.#finish(inOrder)
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: unknown): void {
    if (this.#end !== undefined) return
    const failure = toUpstreamFailed(error)
    const isStale = !this.#hasHead && failure.kind === "reset" && hadServed(error)
    this.#fail(isStale ? new UpstreamFailed({ kind: "stale", detail: failure.detail }) : failure)
  }

  #take(): Chunks {
    const [first, ...rest] = this.#buffer
    if (first === undefined) return [empty]
    const chunks: NonEmptyArray<Uint8Array> = [first, ...rest]
    this.#buffer = []
    this.#buffered = 0
    if (this.#controller?.paused === true) this.#controller.resume()
    return chunks
  }

  #fail(failure: UpstreamFailed): void {
    this.#finish(new BodyEnd(failure))
    if (!this.#hasHead) this.#onHead(Exit.fail(failure))
  }

  #finish(end: BodyEnd): void {
    if (this.#end !== undefined) return
    this.#end = end
    const waiter = this.#waiter
    this.#waiter = undefined
    waiter?.(Effect.succeed(end))
  }
}

const empty = new Uint8Array(0)

/** One object for all: a stack trace for each client that leaves would tell nobody anything. */
const cancelled = new Error("cancelled by the gateway")
