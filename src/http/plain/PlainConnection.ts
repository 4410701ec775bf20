/**
 * One connection whose requests are of the plainest form. A request is served here where all of it is in memory; anything
 * else, a head that is not there as a whole among it, is given to Node's server with every byte that came, and the
 * connection is Node's from then on: its time-outs and its strictness hold.
 */
import { IncomingMessage, ServerResponse } from "node:http"
import type { Socket } from "node:net"
import type { Timed, Timers } from "../../resilience/Timers.ts"
import type { MessageHead, NodeRequest, RequestSource } from "../Incoming.ts"
import { type PlainHead, readPlainHead } from "./PlainHead.ts"
import { type DateLine, PlainResponse } from "./PlainResponse.ts"

/** A body of at most this many bytes is waited for here. */
const maxBodyBytes = 64 * 1024

/** Bytes of further requests that are read while one is answered. */
const maxPipelinedBytes = 64 * 1024

/** Milliseconds for which the rest of a body is waited for here, the pieces that it may come in, and on how many connections. */
const patienceMillis = 500
const maxPieces = 16
const maxWaiting = 512

/** Milliseconds for which a connection is kept longer than its client is told, as a request may be on its way. */
const keepAliveBufferMillis = 1000

/** A request that is there as a whole. */
export class PlainRequest implements MessageHead, RequestSource {
  readonly method = "POST"
  readonly httpVersion = "1.1"
  readonly httpVersionMajor = 1
  readonly complete = true
  readonly url: string
  readonly rawHeaders: ReadonlyArray<string>
  readonly headers: PlainHead["headers"]
  readonly socket: Socket
  readonly body: Buffer
  readonly response: PlainResponse
  readonly #toNode: (request: PlainRequest) => NodeRequest
  #node: NodeRequest | undefined

  constructor(
    { headers, rawHeaders, url }: PlainHead,
    body: Buffer,
    socket: Socket,
    response: PlainResponse,
    toNode: (request: PlainRequest) => NodeRequest
  ) {
    this.url = url
    this.rawHeaders = rawHeaders
    this.headers = headers
    this.socket = socket
    this.body = body
    this.response = response
    this.#toNode = toNode
  }

  node(): NodeRequest {
    return (this.#node ??= this.#toNode(this))
  }
}

export interface PlainParts {
  /** `false`: nothing was done for it. */
  readonly take: (request: PlainRequest) => boolean
  /** Node's server takes the connection; what was read of it is to be read again. */
  readonly giveToNode: (socket: Socket) => void
  /** Not one byte has come for so many milliseconds: `Infinity` where there is no bound. */
  readonly silentMillis: () => number
  readonly onSilent: (socket: Socket) => void
  /** The client has closed its side in the middle of a request. */
  readonly onCutOff: (socket: Socket) => void
  /** What none of this expects was thrown where a request was taken; its connection is broken. */
  readonly onDefect: (defect: unknown) => void
  readonly timers: Timers["Service"]
  readonly now: () => number
  readonly date: DateLine
  readonly maxHeadBytes: () => number
  readonly keepAliveMillis: number
  /** How many connections wait for the rest of a body: what they hold is bounded. Mutable. */
  readonly waiting: { count: number }
}

/** Mutable by nature: written by its socket. */
export class PlainConnection implements Timed {
  readonly #parts: PlainParts
  readonly #socket: Socket
  /** What was read and is not served yet. */
  #read: Buffer | undefined
  /** The head of it, once it is there. */
  #head: PlainHead | undefined
  #serving: PlainResponse | ServerResponse | undefined
  /** The client is to take what it was answered before more is answered. */
  #isFull = false
  /** Of a body whose rest is waited for; 0 where none is. */
  #pieces = 0
  /** When a first byte, or the rest of a body, is waited for no longer. */
  dueAt = Number.POSITIVE_INFINITY
  place: number | undefined

  constructor(parts: PlainParts, socket: Socket) {
    this.#parts = parts
    this.#socket = socket
    socket.on("data", this.#onData)
    socket.on("end", this.#onEnd)
    socket.on("error", noop)
    socket.on("close", this.#onClose)
    socket.setTimeout(parts.keepAliveMillis + keepAliveBufferMillis, this.#onIdle)
    this.#await(parts.silentMillis())
  }

  readonly expire = (): void => {
    if (this.#read === undefined) this.#parts.onSilent(this.#socket)
    else this.#give()
  }

  readonly #onData = (bytes: Buffer): void => {
    // Behind the last answer nothing is asked for any more.
    if (!this.#socket.writable) return
    if (this.#read === undefined) this.#awaitNothing()
    this.#read = this.#read === undefined ? bytes : Buffer.concat([this.#read, bytes])
    if (this.#serving === undefined && !this.#isFull) this.#serve()
    // What comes behind a request waits for its answer. While the socket is read it is seen that its client leaves.
    else if (this.#read.length > maxPipelinedBytes) this.#socket.pause()
  }

  #serve(): void {
    const bytes = this.#read
    if (bytes === undefined) return
    const head = (this.#head ??= readPlainHead(bytes, this.#parts.maxHeadBytes()))
    if (head === undefined || head.length > maxBodyBytes) return this.#give()
    const size = head.size + head.length
    if (bytes.length < size) return this.#awaitRest()
    this.#awaitNothing()
    const { date, keepAliveMillis } = this.#parts
    const response = new PlainResponse({
      socket: this.#socket,
      date,
      keepAliveSeconds: Math.floor(keepAliveMillis / 1000),
      onEnd: this.#onAnswered
    })
    const request = new PlainRequest(head, bytes.subarray(head.size, size), this.#socket, response, this.#toNode)
    this.#serving = response
    this.#head = undefined
    this.#read = bytes.length === size ? undefined : bytes.subarray(size)
    if (this.#take(request)) return
    this.#serving = undefined
    this.#read = bytes
    this.#give()
  }

  #awaitRest(): void {
    const { waiting } = this.#parts
    this.#pieces++
    if (this.#pieces > maxPieces) return this.#give()
    if (this.#pieces > 1) return
    waiting.count++
    if (waiting.count > maxWaiting) this.#give()
    else this.#await(patienceMillis)
  }

  #await(millis: number): void {
    const { now, timers } = this.#parts
    this.dueAt = now() + millis
    timers.add(this)
  }

  #awaitNothing(): void {
    if (this.#pieces > 0) this.#parts.waiting.count--
    this.#pieces = 0
    this.#parts.timers.remove(this)
  }

  /** Nothing watches a socket's callbacks: what is thrown in them would end the process. */
  #take(request: PlainRequest): boolean {
    try {
      return this.#parts.take(request)
    } catch (defect) {
      this.#socket.destroy()
      this.#parts.onDefect(defect)
      return true
    }
  }

  /** The answer is written; the next request is looked for when what wrote it has returned. */
  readonly #onAnswered = (keepsAlive: boolean): void => {
    this.#serving = undefined
    const socket = this.#socket
    if (!keepsAlive) return void socket.end(this.#destroy)
    // Else answers to a client that takes none of them would fill the memory.
    this.#isFull = socket.writableNeedDrain
    if (this.#isFull) socket.once("drain", this.#goOn)
    else if (this.#read !== undefined) process.nextTick(this.#goOn)
    else if (socket.isPaused()) socket.resume()
  }

  readonly #goOn = (): void => {
    this.#isFull = false
    if (this.#serving !== undefined || !this.#socket.writable) return
    if (this.#socket.isPaused()) this.#socket.resume()
    this.#serve()
  }

  /**
   * Node's own message and response for a request, its body read; the connection stays here. Where the answer has begun
   * here it ends here, and Node's response is one that has ended, to which nothing can be added.
   */
  readonly #toNode = ({ headers, rawHeaders, response: plain, url }: PlainRequest): NodeRequest => {
    const socket = this.#socket
    const message = Object.assign(new IncomingMessage(socket), {
      method: "POST",
      url,
      httpVersion: "1.1",
      httpVersionMajor: 1,
      httpVersionMinor: 1,
      headers,
      rawHeaders,
      complete: true
    })
    message.push(null)
    const response = Object.assign(new ServerResponse(message), {
      _keepAliveTimeout: this.#parts.keepAliveMillis,
      shouldKeepAlive: plain.shouldKeepAlive
    })
    if (plain.headersSent) return { message, response: response.end() }
    response.assignSocket(socket)
    const onDrain = () => response.emit("drain")
    socket.on("drain", onDrain)
    response.once("finish", () => {
      socket.off("drain", onDrain)
      response.detachSocket(socket)
      response.emit("close")
      this.#onAnswered(!isLast(response))
    })
    this.#serving = response
    return { message, response }
  }

  #give(): void {
    const socket = this.#socket
    const bytes = this.#read
    this.#read = undefined
    this.#awaitNothing()
    socket.setTimeout(0, this.#onIdle)
    socket.off("data", this.#onData)
    socket.off("end", this.#onEnd)
    socket.off("error", noop)
    socket.off("close", this.#onClose)
    socket.pause()
    if (bytes !== undefined) socket.unshift(bytes)
    this.#parts.giveToNode(socket)
    process.nextTick(() => socket.resume())
  }

  /** As with Node's server: who closes its side does not wait for an answer any more. */
  readonly #onEnd = (): void => {
    if (this.#serving === undefined && this.#head !== undefined) this.#parts.onCutOff(this.#socket)
    this.#socket.end(this.#destroy)
  }

  readonly #onIdle = (): void => {
    if (this.#serving === undefined) this.#socket.destroy()
  }

  readonly #onClose = (): void => {
    this.#awaitNothing()
    if (this.#serving instanceof PlainResponse) this.#serving.closed()
    this.#serving = undefined
    this.#read = undefined
  }

  readonly #destroy = (): void => {
    this.#socket.destroy()
  }
}

/** Whether its head has told the client that nothing follows on the connection. */
const isLast = (response: ServerResponse): boolean => "_last" in response && response._last === true

const noop = () => {}
