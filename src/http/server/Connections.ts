/**
 * The connections of one server. While it serves they are only counted; when its end has begun each is closed as soon as
 * nothing is lost by that: after the answer that is under way, or when nothing has come for a while. An idle connection
 * is not closed at once: its client may be sending a request at this very moment, which could not be sent again.
 */
import { constants, Http2ServerRequest, type Http2Session, type ServerHttp2Stream } from "node:http2"
import { Socket } from "node:net"
import type { MessageHead } from "../Incoming.ts"
import { Untaken } from "./Untaken.ts"

/** Milliseconds without a request after which a connection is taken for idle. */
const idleMillis = 1000

/** Of HTTP/1 the socket, of HTTP/2 the session. */
type Connection = Socket | Http2Session

/** What is known of one connection; given out by `begin`, to be handed back to `end`. */
export interface Visited {
  readonly connection: Connection | undefined
  /** What it runs on. */
  readonly socket: Socket | undefined
  /** Opened after the end had begun. */
  readonly late: boolean
  busy: number
  quietSince: number
  /** Bytes that had come when it was quiet last: more means that a request is on its way. */
  read: number
  readonly untaken: Untaken
}

export class Connections {
  readonly #now: () => number
  readonly #sockets = new Set<Socket>()
  readonly #visited = new Map<Connection, Visited>()
  /** Of HTTP/2, those that a request has come on. */
  readonly #streams = new Map<ServerHttp2Stream, { drained: number; readonly untaken: Untaken }>()
  #closingSince = Number.POSITIVE_INFINITY

  readonly #onRefused: () => void

  constructor(now: () => number, onRefused: () => void = () => {}) {
    this.#now = now
    this.#onRefused = onRefused
  }

  get closing(): boolean {
    return this.#closingSince !== Number.POSITIVE_INFINITY
  }

  /** Requests under way. */
  get busy(): number {
    let total = 0
    for (const { busy } of this.#visited.values()) total += busy
    return total
  }

  /** One more than there may be: it was closed before anything was read. */
  refused(): void {
    this.#onRefused()
  }

  /** A TCP connection, whatever will be spoken on it. */
  accepted(socket: Socket): void {
    this.#sockets.add(socket)
    socket.once("close", () => this.#sockets.delete(socket))
  }

  /** Requests can come on it; `socket`: what a session of HTTP/2 runs on. */
  opened(connection: Connection, socket = connection instanceof Socket ? connection : undefined): void {
    this.#visited.set(connection, this.#fresh(connection, socket))
    connection.once("close", () => this.#visited.delete(connection))
  }

  /** A request is under way; to be `end`ed once. */
  begin(message: MessageHead): Visited {
    const connection = message instanceof Http2ServerRequest ? this.#sessionOf(message.stream) : message.socket
    const visited = (connection && this.#visited.get(connection)) ?? this.#fresh(undefined, undefined)
    visited.busy++
    return visited
  }

  /** Nothing has come or gone on it for a while: it is closed, unless that is because a request takes so long. */
  rested(session: Http2Session): void {
    if (this.#visited.get(session)?.busy === 0) session.close()
  }

  end(visited: Visited): void {
    visited.busy--
    if (visited.busy > 0) return
    visited.quietSince = this.#now()
    visited.read = bytesOf(visited.connection)
  }

  /** From now on no connection outlives the request that it has, and none that is opened is for requests. */
  close(): void {
    if (this.closing) return
    this.#closingSince = this.#now()
    for (const connection of this.#visited.keys()) {
      // HTTP/2 can say goodbye: streams that run go on, and a client that sends another one knows that it was not taken.
      if (!(connection instanceof Socket)) connection.close()
    }
  }

  /** Closes what is quiet; answers what is left: connections of before the end, and later ones with a request. */
  sweep(): number {
    const now = this.#now()
    let left = 0
    for (const visited of this.#visited.values()) {
      if (!visited.late && !this.#closeQuiet(visited, now)) left++
      else left += visited.busy
    }
    return left
  }

  /**
   * Cuts what its client has taken nothing from for so many milliseconds, though there is something: it holds a place at
   * a backend in vain. Of HTTP/1 that is the connection. Of HTTP/2 it is the stream, whether its own window is closed,
   * the session's, or the connection: other streams go on. That something was taken is seen when a slice of it was.
   */
  cutStalled(patience: number): void {
    const now = this.#now()
    for (const [stream, { drained, untaken }] of this.#streams) {
      if (untaken.stalledFor(stream.writableLength, drained, now) < patience) continue
      stream.close(constants.NGHTTP2_CANCEL)
      // The reset waits on the connection like all else. The request does not wait for it.
      stream.destroy()
    }
    for (const { busy, connection, socket, untaken } of this.#visited.values()) {
      const stalledFor =
        connection instanceof Socket
          ? untaken.stalledFor(connection.writableLength, connection.bytesWritten - connection.writableLength, now)
          : // A session that is over and does not go has its goodbye waiting.
            untaken.stalledFor(Number(connection?.closed === true && busy === 0), 0, now)
      if (stalledFor >= patience) socket?.destroy()
    }
  }

  /** What is left is cut. */
  destroy(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  #closeQuiet({ busy, connection, quietSince, read }: Visited, now: number): boolean {
    if (!(connection instanceof Socket) || busy > 0 || bytesOf(connection) !== read) return false
    if (now - Math.max(quietSince, this.#closingSince) < idleMillis) return false
    connection.destroy()
    return true
  }

  #sessionOf(stream: ServerHttp2Stream): Http2Session | undefined {
    if (!stream.destroyed) {
      const taking = { drained: 0, untaken: new Untaken(this.#now()) }
      this.#streams.set(stream, taking)
      // It does not count its bytes.
      stream.on("drain", () => taking.drained++)
      stream.once("close", () => this.#streams.delete(stream))
    }
    return stream.session
  }

  #fresh(connection: Connection | undefined, socket: Socket | undefined): Visited {
    const now = this.#now()
    return { connection, socket, late: this.closing, busy: 0, quietSince: now, read: 0, untaken: new Untaken(now) }
  }
}

const bytesOf = (connection: Connection | undefined): number =>
  connection instanceof Socket ? connection.bytesRead : 0
