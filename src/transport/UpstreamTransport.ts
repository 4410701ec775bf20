/**
 * One HTTP exchange with a backend: status and headers as soon as they are there, the body as it comes, with
 * back-pressure down to the socket, cancelled by interruption.
 *
 * Built on undici's `dispatch`: about half the cost of `HttpClient` over undici, which also rewrites `traceparent` and
 * leaves a body that is not read open.
 */
import type { Duplex } from "node:stream"
import type { Effect } from "effect"
import { Context, type Result, Schema, type Stream } from "effect"
import type { Backend } from "../domain/Backend.ts"
import { type Chunks, Pieces } from "../domain/Bytes.ts"
import type { ClientSettings } from "../domain/Pool.ts"
import type { UpstreamHeaders } from "../domain/UpstreamHeaders.ts"

/** Why an exchange came to nothing. The kinds are metric labels; the detail is for logs, never for clients. */
export class UpstreamFailed extends Schema.TaggedError<UpstreamFailed>()("UpstreamFailed", {
  /**
   * `connect`: no connection; `tls`: no trust; `reset`: the connection broke; `stale`: one that had
   * served before broke ahead of any answer, as kept connections do when their other end has had enough of them; `protocol`: no HTTP that we understand;
   * `timeout`: ended by us because it took too long; `refused`: the address is one that we do not connect to;
   * `local`: we lack descriptors, ports or memory for it, and learned nothing of the backend.
   */
  kind: Schema.Literals(["connect", "tls", "reset", "stale", "protocol", "timeout", "refused", "local"]),
  detail: Schema.String
}) {
  override get message(): string {
    return `${this.kind}: ${this.detail}`
  }
}

/** The client's body came to nothing while it was sent on: that says nothing of the backend. */
export class RequestBodyFailed extends Schema.TaggedError<RequestBodyFailed>()("RequestBodyFailed", {
  /** `two_models`: it names another model behind the one that was checked. */
  reason: Schema.Literals(["broken", "too_slow", "too_large", "two_models"])
}) {
  /** A label, as that of {@link UpstreamFailed}. */
  readonly kind = "request_body"

  override get message(): string {
    return `request body: ${this.reason}`
  }
}

/** What ends an exchange before its end. */
export type ExchangeFailed = UpstreamFailed | RequestBodyFailed

export interface UpstreamRequest {
  readonly backend: Backend
  /** How connections of the pool that sends are made. */
  readonly client: ClientSettings
  /** Milliseconds for TCP and TLS. */
  readonly connectTimeout: number
  readonly method: string
  /** Path and query, as they go on the wire. */
  readonly path: string
  /** Names and values in turn, as they go on the wire; `host` and `content-length` are added. */
  readonly headers: ReadonlyArray<string>
  readonly body: UpstreamBody
  /** Whether an answer that comes compressed is decoded. */
  readonly readable: boolean
  /** The protocol that the connection is to be switched to; `connection` and `upgrade` are added to the headers. */
  readonly upgrade?: "websocket" | undefined
}

/** Bytes at hand, or bytes that come in while they are sent on. */
export type UpstreamBody = Uint8Array | Pieces | Stream.Stream<Uint8Array, RequestBodyFailed> | undefined

/** Whether a body is there as a whole, or there is none. */
export const isAtHand = (body: UpstreamBody): body is Uint8Array | Pieces | undefined =>
  body === undefined || body instanceof Uint8Array || body instanceof Pieces

/** How a body ended: in order, or broken off. A value and not an error, since every body has one. */
export class BodyEnd {
  readonly failure: ExchangeFailed | undefined
  constructor(failure: ExchangeFailed | undefined) {
    this.failure = failure
  }
}

/** Where a body goes, piece by piece. */
export interface BodySink {
  /** Takes a piece, whatever it answers; `false`: the next one had better wait until it is ready. */
  readonly write: (piece: Uint8Array) => boolean
  /** Calls back once, when it is ready again. */
  readonly onDrain: (ready: () => void) => void
}

export interface UpstreamResponse {
  readonly status: number
  /** Names in lower case. */
  readonly headers: UpstreamHeaders
  /**
   * What was not read yet of the body, with back-pressure. Where it is over, however it ended, the rest is given up. The
   * form for everything but the way that every request takes: for that there are `read` and `pipe`.
   */
  readonly stream: Stream.Stream<Uint8Array, ExchangeFailed>
  /**
   * The next pieces of the body, or its end, again and again once it is reached. For one fiber at a time. How an answer
   * begins is read by this, before it is known what becomes of the rest: a short answer costs 0.6 µs, by `stream` 8 µs; and a
   * stream whose reader has gone is over.
   */
  readonly read: Effect.Effect<Chunks | BodyEnd>
  /** A `read` that waits ends at once, with a piece of no bytes. Harmless at any time. */
  readonly wake: () => void
  /** The same body for callbacks; `undefined` where it is made of other bytes than came, which only a fiber can wait for. */
  readonly direct: DirectBody | undefined
  /**
   * Hands over all that was not read yet, as it comes, and ends with the body. What came in together is one piece. The
   * fiber sleeps meanwhile: to wake it for each piece costs some 5 µs in the running program (1.2 µs in a loop of nothing
   * else), which is as much as everything else that is done for a piece.
   */
  readonly pipe: (sink: BodySink) => Effect.Effect<BodyEnd>
  /** Gives up what was not read. Harmless at any time, and needed where a body is not read to its end. */
  readonly cancel: () => void
  /**
   * Only of a 101, which has no body: the connection itself, paused, with an error listener of its own. `cancel` and
   * the exchange's abort destroy it.
   */
  readonly socket?: Duplex | undefined
}

/**
 * A body as plain functions, for what has no fiber; `read` and `pipe` are made of these. It has one reader at a time, by
 * whichever of the forms.
 */
export interface DirectBody {
  /** What came and was not read, or the end; `undefined`: nothing yet, and `ready` is called once when there is. */
  readonly take: (ready: () => void) => Chunks | BodyEnd | undefined
  /** Hands over what was not read yet and all that comes. */
  readonly pipeTo: (sink: BodySink, listener: PipeListener) => void
  /** Nothing more is handed over or told to what has asked by `take` or `pipeTo`. */
  readonly letGo: () => void
}

/** What is told of a body that is handed over: one of these, once, unless it is let go before. */
export interface PipeListener {
  readonly ended: (end: BodyEnd) => void
  /** The sink has thrown. */
  readonly died: (defect: unknown) => void
}

/** Ends an exchange from outside with a failure of the caller's choice; how time-outs are made. */
export type Abort = (failure: ExchangeFailed) => void

export type OnHead = (head: Result.Result<UpstreamResponse, ExchangeFailed>) => void

/** Gives an exchange up, before its head or after it. */
export type Cancel = () => void

export class UpstreamTransport extends Context.Service<
  UpstreamTransport,
  {
    /**
     * Sends and waits for the response head. Interrupting it closes the exchange at the backend; after the head,
     * `cancel` does. `started` is called at once, synchronously, with a way to end the exchange in any phase.
     */
    readonly send: (
      request: UpstreamRequest,
      started: (abort: Abort) => void
    ) => Effect.Effect<UpstreamResponse, ExchangeFailed>
    /**
     * The same for what has no fiber: `onHead` is called once, at once or later, unless `started`'s abort came before. What
     * is short in this process itself is not told in the log: `tellShortage` does that.
     */
    readonly open: (request: UpstreamRequest, started: (abort: Abort) => void, onHead: OnHead) => Cancel
    /** Tells in the log of a failure that came of a shortage of this process's own. */
    readonly tellShortage: (failure: ExchangeFailed) => Effect.Effect<void>
  }
>()("weir/transport/UpstreamTransport") {}
