/**
 * One connection to a backend, kept for several requests and made anew when it has reached its age: a name that means
 * another address since then is looked up again. It knows what undici does not tell of an answer's way here.
 */
import type { Socket } from "node:net"
import { type buildConnector, Client, type Dispatcher } from "undici"
import { AnswerFilter } from "./AnswerFilter.ts"
import { Exchange } from "./Exchange.ts"
import { saysThatItIsOver } from "./StaleConnection.ts"

export interface ConnectionSettings {
  /** Milliseconds after which an idle connection is not used again; a busy one ends with what it is busy with. */
  readonly maxAge: number
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** Between 0 and 1: connections that were made together are not all made anew together. */
  readonly random: () => number
}

/** The share of its age by which a connection may be made anew earlier. */
const jitter = 0.2

/** An engine that closes what was idle has said so before it read the request: within the time of a round trip. */
const raceMillis = 1000

export class Connection extends Client {
  readonly #line: OpenLine
  readonly #now: () => number
  #begunAt = 0

  constructor(origin: URL, options: object, connect: buildConnector.connector, settings: ConnectionSettings) {
    const line = new OpenLine(settings)
    super(origin, { ...options, connect: watching(connect, line) })
    this.#line = line
    this.#now = settings.now
    // What was upgraded is not ours any more; what has closed is nothing.
    this.on("disconnect", () => line.forget())
  }

  /** A pool gives the next request only when the one before is over. */
  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    this.#begunAt = this.#now()
    this.#line.next(this.#begunAt)
    if (handler instanceof Exchange) handler.connection = this
    return super.dispatch(options, handler)
  }

  /** Whether such an answer is about the connection, which the engine had given up as the request came. */
  gaveUp(status: number, reason: string): boolean {
    return this.#line.hasServed && saysThatItIsOver(status, reason) && this.#now() - this.#begunAt < raceMillis
  }
}

/** The socket that a connection has at the moment, if it has one. */
class OpenLine {
  readonly #settings: ConnectionSettings
  #socket: Socket | undefined
  #filter: AnswerFilter | undefined
  #endsAt = 0

  constructor(settings: ConnectionSettings) {
    this.#settings = settings
  }

  /** Whether an answer has come on it before the one that is awaited. */
  get hasServed(): boolean {
    return this.#filter?.hasServed ?? false
  }

  open(socket: Socket): void {
    const { maxAge, now, random } = this.#settings
    this.#socket = socket
    this.#filter = new AnswerFilter()
    this.#endsAt = now() + maxAge * (1 - jitter * random())
    readThrough(socket, this.#filter)
  }

  /** Nothing is under way on it, and a request comes: where it is too old, undici opens another one for that. */
  next(now: number): void {
    if (this.#socket !== undefined && now >= this.#endsAt) {
      this.#socket.destroy()
      this.forget()
    }
    this.#filter?.awaitAnswer()
  }

  forget(): void {
    this.#socket = undefined
    this.#filter = undefined
  }
}

const watching =
  (connect: buildConnector.connector, line: OpenLine): buildConnector.connector =>
  (options, callback) => {
    connect(options, (...outcome) => {
      const [, socket] = outcome
      // Where it fails undici gives no socket at all, whatever its types say.
      if (socket) line.open(socket)
      callback(...outcome)
    })
  }

/** When bytes are read, all before them have been understood: what they are can be told only then. */
const readThrough = (socket: Socket, filter: AnswerFilter): void => {
  const read = socket.read.bind(socket)
  Object.assign(socket, {
    read: (size?: number): unknown => {
      const bytes: unknown = read(size)
      return bytes instanceof Buffer ? filter.take(bytes) : bytes
    }
  })
}
