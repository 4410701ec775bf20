/** One undici dispatch: callbacks in, a head and a body out, for a fiber or for plain functions. */
import type { Duplex } from "node:stream"
import { Effect, Result } from "effect"
import { isReadonlyArrayNonEmpty } from "effect/Array"
import type { Dispatcher } from "undici"
import { type Chunks, joined } from "../domain/Bytes.ts"
import type { UpstreamHeaders } from "../domain/UpstreamHeaders.ts"
import { streamByReading } from "./Body.ts"
import { givenUpBefore, hadServed } from "./StaleConnection.ts"
import { toExchangeFailed } from "./TransportFailure.ts"
import {
  BodyEnd,
  type BodySink,
  type DirectBody,
  type ExchangeFailed,
  type OnHead,
  type PipeListener,
  UpstreamFailed,
  type UpstreamResponse
} from "./UpstreamTransport.ts"

/** Bytes that may wait for the reader before the socket is told to stop: what one slow client can cost. */
const highWaterMark = 64 * 1024

const inOrder = new BodyEnd(undefined)

/** What follows it comes after this turn. Node's `queueMicrotask` does the same, and makes an `AsyncResource` each time. */
const thisTurn = Promise.resolve()

/** What carries an exchange, and knows whether an answer is about itself and not about the request. */
export interface Carrier {
  readonly gaveUp: (status: number, reason: string) => boolean
}

/**
 * Mutable by nature: a socket's callbacks write, one reader reads. How the exchange ends is decided once, by what comes
 * first: undici, a time-out, or a reader that has had enough. It is the answer that it brings, too: one object for both.
 */
export class Exchange implements Dispatcher.DispatchHandler, UpstreamResponse, DirectBody {
  status = 0
  headers: UpstreamHeaders = noHeaders
  /** What a 101 has opened. */
  socket: Duplex | undefined
  /** Set by what takes the exchange to the backend. */
  connection: Carrier | undefined
  #onHead: OnHead
  #controller: Dispatcher.DispatchController | undefined
  #buffer: Array<Uint8Array> = []
  #buffered = 0
  #end: BodyEnd | undefined
  #hasHead = false
  /** Called when there is something to take. */
  #ready: (() => void) | undefined
  #isWoken = false
  /** What gets the body from now on, and what is told how that ended; in place of a reader. */
  #sink: BodySink | undefined
  #listener: PipeListener | undefined
  #sinkIsFull = false
  readonly #repeatable: boolean

  /** `repeatable`: whether the request can be sent again where the engine had given the connection up before. */
  constructor(onHead: OnHead, repeatable = false) {
    this.#onHead = onHead
    this.#repeatable = repeatable
  }

  /** Ends the exchange with a failure; what the backend still sends is not read. */
  readonly abort = (failure: ExchangeFailed): void => {
    if (this.#end !== undefined) return
    this.#fail(failure)
    this.#controller?.abort(failure)
    this.socket?.destroy()
  }

  /** Ends the exchange because the rest is not wanted. */
  readonly cancel = (): void => {
    if (this.#end !== undefined) return
    this.#buffer = []
    this.#buffered = 0
    this.#finish(inOrder)
    this.#controller?.abort(cancelled)
    this.socket?.destroy()
  }

  get direct(): DirectBody {
    return this
  }

  take(ready: () => void): Chunks | BodyEnd | undefined {
    if (this.#buffered > 0) return this.#takeAll()
    if (this.#end !== undefined) return this.#end
    if (this.#isWoken) {
      this.#isWoken = false
      return nothing
    }
    this.#ready = ready
    this.#resume()
    return undefined
  }

  pipeTo(sink: BodySink, listener: PipeListener): void {
    this.#sink = sink
    this.#sinkIsFull = false
    this.#listener = listener
    this.#flush()
    if (this.#end !== undefined) this.#tellEnd(this.#end)
  }

  letGo(): void {
    this.#ready = undefined
    this.#sink = undefined
    this.#listener = undefined
  }

  get read(): Effect.Effect<Chunks | BodyEnd> {
    return Effect.suspend(() => {
      const taken = this.take(noop)
      return taken === undefined ? this.#waitForMore() : Effect.succeed(taken)
    })
  }

  #waitForMore(): Effect.Effect<Chunks | BodyEnd> {
    return Effect.callback<Chunks | BodyEnd>((resume) => {
      const look = () => {
        const taken = this.take(look)
        if (taken !== undefined) resume(Effect.succeed(taken))
      }
      look()
      return Effect.sync(() => this.letGo())
    })
  }

  wake(): void {
    if (this.#ready === undefined) return
    this.#isWoken = true
    this.#tellReady()
  }

  pipe(sink: BodySink): Effect.Effect<BodyEnd> {
    return Effect.callback<BodyEnd>((resume) => {
      this.pipeTo(sink, {
        ended: (end) => resume(Effect.succeed(end)),
        died: (defect) => resume(Effect.die(defect))
      })
      return Effect.sync(() => this.letGo())
    })
  }

  /** Made when it is asked for: that takes 0.4 µs, and few do. */
  get stream(): UpstreamResponse["stream"] {
    return streamByReading(this.read, this.cancel)
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#end !== undefined) controller.abort(cancelled)
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | Array<string> | undefined>,
    reason = ""
  ): void {
    if (status < 200) return
    if (status >= 400 && this.#repeatable && this.connection?.gaveUp(status, reason) === true) {
      return this.abort(givenUpBefore)
    }
    this.#arrive(status, headers)
    // Of most answers all is there at once. Told after this turn, the reader finds the whole of it and need not wait thrice.
    void thisTurn.then(this.#tellHead)
  }

  /** The backend has switched protocols; undici has nothing more to do with the connection. */
  onRequestUpgrade(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | Array<string> | undefined>,
    socket: Duplex
  ): void {
    // An error without a listener would end the process; that the connection broke is told by its close.
    socket.on("error", () => {})
    if (this.#end !== undefined) {
      socket.destroy()
      return
    }
    this.socket = socket
    this.#arrive(status, headers)
    this.#tellHead()
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Uint8Array): void {
    // A parser that is resumed at the end of what it had hands over a piece of no bytes: kept, it would hold up the rest.
    if (this.#end !== undefined || chunk.length === 0) return
    this.#buffer.push(chunk)
    this.#buffered += chunk.length
    if (this.#ready !== undefined) this.#tellReady()
    // After this turn: a socket's read may hold dozens of events, and they are passed on as they came.
    else if (this.#sink !== undefined && this.#buffer.length === 1) void thisTurn.then(this.#flush)
    if (this.#buffered >= highWaterMark) controller.pause()
  }

  onResponseEnd(): void {
    this.#finish(inOrder)
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: unknown): void {
    if (this.#end !== undefined) return
    const failure = toExchangeFailed(error)
    const isReset = failure._tag === "UpstreamFailed" && failure.kind === "reset"
    const isStale = isReset && !this.#hasHead && hadServed(error)
    this.#fail(isStale ? new UpstreamFailed({ kind: "stale", detail: failure.detail }) : failure)
  }

  #arrive(status: number, headers: UpstreamHeaders): void {
    this.#hasHead = true
    this.status = status
    this.headers = headers
  }

  /** What was asked keeps nothing of the request: the answer may take minutes. */
  readonly #tellHead = (): void => {
    const onHead = this.#onHead
    this.#onHead = noop
    onHead(Result.succeed(this))
  }

  #takeAll(): Chunks {
    const chunks = this.#buffer
    this.#buffer = []
    this.#buffered = 0
    this.#resume()
    return isReadonlyArrayNonEmpty(chunks) ? chunks : nothing
  }

  #resume(): void {
    if (this.#end === undefined && this.#controller?.paused === true) this.#controller.resume()
  }

  /** What waits goes to the sink. What a full one is not ready for waits until it is, or until the body is over. */
  readonly #flush = (): void => {
    const sink = this.#sink
    if (sink === undefined || (this.#sinkIsFull && this.#end === undefined)) return
    if (this.#buffered === 0) return this.#resume()
    const piece = joined(this.#buffer)
    this.#buffer = []
    this.#buffered = 0
    try {
      // Only then may more come: a paused socket that is let go on can tell its next pieces, and its end, at once.
      if (sink.write(piece)) return this.#resume()
      this.#sinkIsFull = true
      sink.onDrain(() => {
        // It may have been given up, and another one taken its place.
        if (this.#sink !== sink) return
        this.#sinkIsFull = false
        this.#flush()
      })
    } catch (defect) {
      // Nothing catches what is thrown in a socket's callback: it is the reader's.
      const listener = this.#listener
      this.letGo()
      listener?.died(defect)
    }
  }

  #tellReady(): void {
    const ready = this.#ready
    this.#ready = undefined
    ready?.()
  }

  #tellEnd(end: BodyEnd): void {
    const listener = this.#listener
    this.letGo()
    listener?.ended(end)
  }

  #fail(failure: ExchangeFailed): void {
    this.#finish(new BodyEnd(failure))
    if (this.#hasHead) return
    const onHead = this.#onHead
    this.#onHead = noop
    onHead(Result.fail(failure))
  }

  #finish(end: BodyEnd): void {
    if (this.#end !== undefined) return
    this.#end = end
    this.#tellReady()
    this.#flush()
    this.#tellEnd(end)
  }
}

const noop = () => {}
const nothing: Chunks = [new Uint8Array(0)]
const noHeaders: UpstreamHeaders = {}

/** One object for all: a stack trace for each client that leaves would tell nothing. */
const cancelled = new Error("cancelled by the gateway")
