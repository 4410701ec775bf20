/**
 * The connections of one server. While it serves they are only counted; when its end has begun each is closed as soon as
 * nothing is lost by that: after the answer that is under way, or when nothing has come for a while. An idle connection
 * is not closed at once: who uses it may be sending a request at this very moment, which could not be sent again.
 */
import type { IncomingMessage } from "node:http"
import type { Http2ServerRequest, Http2Session } from "node:http2"
import { Socket } from "node:net"

/** Milliseconds without a request after which a connection is taken for idle. */
const quietEnough = 1000

/** Of HTTP/1 the socket, of HTTP/2 the session. */
type Connection = Socket | Http2Session

/** What is known of one connection; given out by `begin`, to be handed back to `end`. */
export interface Visited {
  readonly connection: Connection | undefined
  /** Opened after the end had begun. */
  readonly late: boolean
  busy: number
  quietSince: number
  /** Bytes that had come when it was quiet last: more means that a request is on its way. */
  read: number
  /** Bytes that its client had not taken when we looked last, and since when nothing has changed in that. */
  untaken: number
  stalledSince: number
}

export class Connections {
  readonly #now: () => number
  readonly #sockets = new Set<Socket>()
  readonly #visited = new Map<Connection, Visited>()
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

  /** Requests can come on it. */
  opened(connection: Connection): void {
    this.#visited.set(connection, this.#fresh(connection))
    connection.once("close", () => this.#visited.delete(connection))
  }

  /** A request is under way; to be `end`ed once. */
  begin(message: IncomingMessage | Http2ServerRequest): Visited {
    const connection = "stream" in message ? message.stream.session : message.socket
    const visited = (connection && this.#visited.get(connection)) ?? this.#fresh(undefined)
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
      // HTTP/2 can say goodbye: streams that run go on, and who sends another one knows that it was not taken.
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
   * a backend for nobody. Over HTTP/2 each stream has a window of its own, and nothing can be seen of that here.
   */
  cutStalled(patience: number): void {
    const now = this.#now()
    for (const visited of this.#visited.values()) {
      const { connection, untaken } = visited
      if (!(connection instanceof Socket)) continue
      visited.untaken = connection.writableLength
      if (visited.untaken === 0 || visited.untaken !== untaken) visited.stalledSince = now
      else if (now - visited.stalledSince >= patience) connection.destroy()
    }
  }

  /** What is left is cut. */
  destroy(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  #closeQuiet({ busy, connection, quietSince, read }: Visited, now: number): boolean {
    if (!(connection instanceof Socket) || busy > 0 || bytesOf(connection) !== read) return false
    if (now - Math.max(quietSince, this.#closingSince) < quietEnough) return false
    connection.destroy()
    return true
  }

  #fresh(connection: Connection | undefined): Visited {
    const now = this.#now()
    return { connection, late: this.closing, busy: 0, quietSince: now, read: 0, untaken: 0, stalledSince: now }
  }
}

const bytesOf = (connection: Connection | undefined): number =>
  connection instanceof Socket ? connection.bytesRead : 0
