/** One undici dispatch as an Effect: callbacks in, a head and a body to read out. */
import type { Duplex } from "node:stream"
import { Effect, Exit } from "effect"
import type { NonEmptyArray } from "effect/Array"
import type { Dispatcher } from "undici"
import { type Chunks, joined } from "../domain/Bytes.ts"
import { streamByReading } from "./Body.ts"
import { givenUpBefore, hadServed } from "./StaleConnection.ts"
import { toExchangeFailed } from "./TransportFailure.ts"
import {
  BodyEnd,
  type BodySink,
  type ExchangeFailed,
  UpstreamFailed,
  type UpstreamHeaders,
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
 * Mutable by nature: a socket's callbacks write, one fiber reads. How the exchange ends is decided once, by what
 * comes first: undici, a time-out, or a reader that has had enough.
 */
export class Exchange implements Dispatcher.DispatchHandler {
  readonly #onHead: (head: Exit.Exit<UpstreamResponse, ExchangeFailed>) => void
  #controller: Dispatcher.DispatchController | undefined
  #buffer: Array<Uint8Array> = []
  #buffered = 0
  #end: BodyEnd | undefined
  #hasHead = false
  #waiter: ((read: Effect.Effect<Chunks | BodyEnd>) => void) | undefined
  /** What gets the body from now on, and how that ends; in place of a waiter. */
  #sink: BodySink | undefined
  #piped: ((end: Effect.Effect<BodyEnd>) => void) | undefined
  #sinkIsFull = false
  /** What a 101 has opened. */
  #socket: Duplex | undefined
  /** Set by what takes the exchange to the backend. */
  connection: Carrier | undefined
  readonly #repeatable: boolean

  /** `repeatable`: whether the request can be sent again where the engine had given the connection up before. */
  constructor(onHead: (head: Exit.Exit<UpstreamResponse, ExchangeFailed>) => void, repeatable = false) {
    this.#onHead = onHead
    this.#repeatable = repeatable
  }

  /** Ends the exchange with a failure; what the backend still sends is not read. */
  readonly abort = (failure: ExchangeFailed): void => {
    if (this.#end !== undefined) return
    this.#fail(failure)
    this.#controller?.abort(failure)
    this.#socket?.destroy()
  }

  /** Ends the exchange because the rest is not wanted. */
  readonly cancel = (): void => {
    if (this.#end !== undefined) return
    this.#buffer = []
    this.#buffered = 0
    this.#finish(inOrder)
    this.#controller?.abort(cancelled)
    this.#socket?.destroy()
  }

  readonly read: Effect.Effect<Chunks | BodyEnd> = Effect.suspend(() => {
    if (this.#buffered > 0) return Effect.succeed(this.#take())
    if (this.#end !== undefined) return Effect.succeed(this.#end)
    return Effect.callback<Chunks | BodyEnd>((resume) => {
      this.#waiter = resume
      this.#resume()
      return Effect.sync(() => {
        this.#waiter = undefined
      })
    })
  })

  readonly wake = (): void => {
    const waiter = this.#waiter
    this.#waiter = undefined
    waiter?.(Effect.succeed([empty]))
  }

  readonly pipe = (sink: BodySink): Effect.Effect<BodyEnd> =>
    Effect.callback<BodyEnd>((resume) => {
      this.#sink = sink
      this.#sinkIsFull = false
      this.#piped = resume
      this.#flush()
      if (this.#end !== undefined) resume(Effect.succeed(this.#end))
      return Effect.sync(() => {
        this.#sink = undefined
        this.#piped = undefined
      })
    })

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
    this.#hasHead = true
    // Of most answers all is there at once. Told after this turn, the reader finds the whole of it and need not wait thrice.
    void thisTurn.then(() => this.#onHead(Exit.succeed(new Answer(this, status, headers))))
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
    this.#hasHead = true
    this.#socket = socket
    this.#onHead(Exit.succeed(new Answer(this, status, headers, socket)))
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Uint8Array): void {
    // A parser that is resumed at the end of what it had hands over a piece of no bytes: kept, it would hold up the rest.
    if (this.#end !== undefined || chunk.length === 0) return
    const waiter = this.#waiter
    if (waiter !== undefined) {
      this.#waiter = undefined
      waiter(Effect.succeed([chunk]))
      return
    }
    this.#buffer.push(chunk)
    this.#buffered += chunk.length
    // After this turn: a socket's read may hold dozens of events, and they are passed on as they came.
    if (this.#sink !== undefined && this.#buffer.length === 1) void thisTurn.then(this.#flush)
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

  #take(): Chunks {
    const [first, ...rest] = this.#buffer
    if (first === undefined) return [empty]
    const chunks: NonEmptyArray<Uint8Array> = [first, ...rest]
    this.#buffer = []
    this.#buffered = 0
    this.#resume()
    return chunks
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
      this.#sink = undefined
      this.#piped?.(Effect.die(defect))
    }
  }

  #fail(failure: ExchangeFailed): void {
    this.#finish(new BodyEnd(failure))
    if (!this.#hasHead) this.#onHead(Exit.fail(failure))
  }

  #finish(end: BodyEnd): void {
    if (this.#end !== undefined) return
    this.#end = end
    const waiter = this.#waiter
    this.#waiter = undefined
    waiter?.(Effect.succeed(end))
    this.#flush()
    this.#piped?.(Effect.succeed(end))
  }
}

/** What is told of an exchange when its head is there. */
class Answer implements UpstreamResponse {
  readonly status: number
  readonly headers: UpstreamHeaders
  readonly socket: Duplex | undefined
  readonly read: UpstreamResponse["read"]
  readonly pipe: UpstreamResponse["pipe"]
  readonly wake: () => void
  readonly cancel: () => void

  constructor(exchange: Exchange, status: number, headers: UpstreamHeaders, socket?: Duplex) {
    this.status = status
    this.headers = headers
    this.socket = socket
    this.read = exchange.read
    this.pipe = exchange.pipe
    this.wake = exchange.wake
    this.cancel = exchange.cancel
  }

  /** Made when it is asked for: that takes 0.4 µs, and few do. */
  get stream(): UpstreamResponse["stream"] {
    return streamByReading(this.read, this.cancel)
  }
}

const empty = new Uint8Array(0)

/** One object for all: a stack trace for each client that leaves would tell nothing. */
const cancelled = new Error("cancelled by the gateway")
