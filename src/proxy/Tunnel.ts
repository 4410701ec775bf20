/**
 * A WebSocket that a backend has accepted: bytes both ways as they come, with back-pressure from each side to the other,
 * until both have ended. The frames are followed, never changed.
 *
 * `timeouts.idle` counts while neither side sends anything; a ping is something. While the client does not take what it
 * is sent, the silence is its own and does not count.
 */
import type { Duplex } from "node:stream"
import { Effect } from "effect"
import type { StreamEnd } from "../protocol/StreamError.ts"
import { closeCodes, closeFrame, FrameTracker } from "../protocol/WebSocketFrames.ts"
import type { Attempt } from "./Attempt.ts"

/** Ends with the tunnel. When it is interrupted and the client is still there, both sides get a close frame. */
export type Tunnel = (client: Duplex) => Effect.Effect<void>

/** Milliseconds of silence that a side is given once the other one has ended. */
const lingerMillis = 2000

/** How long a shutdown waits for both sides to answer a close frame. */
const closeTimeout = "1 second"

export const tunnelTo =
  (attempt: Attempt, backend: Duplex, ended: (end: StreamEnd) => void): Tunnel =>
  (client) =>
    Effect.suspend(() => {
      const connection = new TunnelConnection(attempt, client, backend, ended)
      return Effect.callback<void>((resume) => {
        connection.open(() => resume(Effect.void))
        return connection.leave
      })
    })

/** One side of a tunnel, and the frames that have come from it. */
class Side {
  readonly socket: Duplex
  readonly frames = new FrameTracker()
  /** What it means where this side is the first to end, and no close frame went before. */
  readonly cut: StreamEnd
  hasEnded = false

  constructor(socket: Duplex, cut: StreamEnd) {
    this.socket = socket
    this.cut = cut
  }
}

/** Mutable by nature: written by the callbacks of two sockets. */
class TunnelConnection {
  readonly #attempt: Attempt
  readonly #client: Side
  readonly #backend: Side
  readonly #ended: (end: StreamEnd) => void
  /** Decided by the first that ends. */
  #end: StreamEnd | undefined
  #isConcluded = false
  #over: () => void = () => {}

  constructor(attempt: Attempt, client: Duplex, backend: Duplex, ended: (end: StreamEnd) => void) {
    this.#attempt = attempt
    this.#client = new Side(client, "client_gone")
    this.#backend = new Side(backend, "upstream_truncated")
    this.#ended = ended
  }

  open(over: () => void): void {
    this.#over = over
    this.#client.socket.on("finish", this.#look)
    this.#arm()
    this.#follow(this.#client, this.#backend)
    this.#follow(this.#backend, this.#client)
  }

  /** The client has gone, or the gateway goes. */
  readonly leave: Effect.Effect<void> = Effect.suspend(() => {
    this.#end ??= "client_gone"
    if (this.#client.socket.destroyed) return Effect.sync(() => this.#conclude())
    this.#bidFarewell(this.#client, this.#backend, closeCodes.serviceRestart, "the gateway stops")
    this.#bidFarewell(this.#backend, this.#client, closeCodes.goingAway, "the gateway stops")
    const bothTold = Effect.callback<void>((resume) => {
      this.#over = () => resume(Effect.void)
      this.#look()
    })
    return Effect.andThen(
      Effect.timeoutOption(bothTold, closeTimeout),
      Effect.sync(() => this.#conclude())
    )
  })

  #follow(side: Side, other: Side): void {
    const { frames, socket } = side
    socket.on("error", () => {})
    socket.on("data", (piece: Uint8Array) => {
      frames.push(piece)
      if (other.socket.writable && !other.socket.write(piece)) {
        socket.pause()
        other.socket.once("drain", () => {
          this.#arm()
          socket.resume()
        })
      }
      this.#arm()
    })
    socket.on("end", () => this.#onEnd(side, other))
    socket.on("close", () => this.#onClose(side, other))
    // It may have gone before this listened.
    if (socket.closed) this.#onClose(side, other)
    else socket.resume()
  }

  /** Nothing more comes from a side: the other one gets what is on its way, and is then told so. */
  #onEnd(side: Side, other: Side): void {
    side.hasEnded = true
    this.#end ??= this.#wasClosed ? "complete" : side.cut
    if (!other.socket.writableEnded) other.socket.end()
    this.#arm()
  }

  #onClose(side: Side, other: Side): void {
    const { expired } = this.#attempt
    if (side === this.#client) {
      if (!side.hasEnded) this.#end ??= side.cut
      if (!side.hasEnded) other.socket.destroy()
    } else if (expired !== undefined && this.#end === undefined) {
      this.#end = "upstream_timeout"
      this.#bidFarewell(other, side, closeCodes.goingAway, expired === "deadline" ? "deadline exceeded" : "timed out")
    } else if (!side.hasEnded) this.#onEnd(side, other)
    if (side === this.#backend) {
      // What the client still sends is not wanted.
      other.socket.resume()
      this.#conclude()
    }
    this.#look()
  }

  /** The end of a side that has not said anything of it: a close frame, where one can stand there. */
  #bidFarewell(to: Side, from: Side, code: number, reason: string): void {
    if (to.socket.writableEnded) return
    const fits = from.frames.atBoundary && !from.frames.closed
    to.socket.end(fits ? closeFrame(code, reason, to === this.#backend) : undefined)
  }

  get #wasClosed(): boolean {
    return this.#client.frames.closed || this.#backend.frames.closed
  }

  #arm(): void {
    if (this.#client.socket.writableNeedDrain) this.#attempt.atEase()
    else if (this.#client.hasEnded || this.#backend.hasEnded) this.#attempt.awaitEnd(lingerMillis)
    else this.#attempt.awaitPiece(true)
  }

  /** Whether it is over: the backend has gone, and the client has all that it is to have. */
  readonly #look = (): void => {
    const { closed, writableFinished } = this.#client.socket
    if (this.#backend.socket.closed && (closed || writableFinished)) this.#over()
  }

  /** The backend is free, though the client may still take its time with what is left. */
  #conclude(): void {
    if (this.#isConcluded) return
    this.#isConcluded = true
    this.#ended(this.#end ?? "complete")
    this.#attempt.end()
  }
}
