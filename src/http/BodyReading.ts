/** How a body is read into memory: within its bounds, piece by piece, and joined. */
import { Effect, Result } from "effect"
import { InvalidRequest, QueueFull, RequestTimeout, type RequestTooLarge } from "../domain/Errors.ts"
import type { MonotonicClock } from "../domain/MonotonicClock.ts"
import type { ModelForm, Payload, UpstreamBody } from "../proxy/Proxy.ts"
import type { Timed, Timers } from "../resilience/Timers.ts"
import type { Incoming, NodeRequest } from "./Incoming.ts"

export type BodyError = RequestTooLarge | RequestTimeout | InvalidRequest | QueueFull

export interface BodyBounds {
  /** Bytes of a body that is held in memory. */
  readonly limit: number
  /** Bytes of one that streams through. */
  readonly uploadLimit: number
  /** Milliseconds without a byte after which the client is too slow. */
  readonly patience: number
  /** Bytes of all bodies that may be in memory at once. */
  readonly together: number
}

/** The bodies that are in memory, each from its first byte until it is not needed any more. */
export class HeldBodies {
  bytes = 0
}

/** What one request has in memory. Mutable: it grows while the body comes, and is let go once it is not needed. */
export class HeldBody implements Payload {
  readonly #all: HeldBodies
  body: UpstreamBody
  form: ModelForm | undefined
  envelope: Payload["envelope"]
  size = 0

  constructor(all: HeldBodies) {
    this.#all = all
  }

  /** How much all of them have together. */
  get together(): number {
    return this.#all.bytes
  }

  grow(bytes: number): void {
    this.size += bytes
    this.#all.bytes += bytes
  }

  /** When an answer is being sent, or the request is over. */
  letGo(): void {
    this.#all.bytes -= this.size
    this.size = 0
    this.body = undefined
    this.form = undefined
    this.envelope = undefined
  }
}

export interface BodyServices {
  readonly clock: MonotonicClock["Service"]
  readonly timers: Timers["Service"]
}

/** What was read of a body. */
export interface Read {
  readonly pieces: ReadonlyArray<Uint8Array>
  /** Whether that is all of it. */
  readonly isWhole: boolean
}

/** What follows from a piece: more is wanted, or no more, or the request is refused. */
export type Look = (piece: Uint8Array) => Result.Result<"more" | "enough", BodyError>

export const more = Result.succeed("more" as const)
export const enough = Result.succeed("enough" as const)

export type Done = (read: Result.Result<Read, BodyError>) => void

/**
 * Reads as much of a body as `look` wants, in memory, and tells `done` once. Own code around Node's events instead of
 * `request.arrayBuffer`, which has no bound on a client's silence, does not stop before the end, and copies once more.
 * Mutable by nature: written by the socket's callbacks.
 */
export class BodyReading implements Timed {
  readonly #message: NodeRequest["message"]
  readonly #bounds: BodyBounds
  readonly #services: BodyServices
  readonly #held: HeldBody
  readonly #look: Look
  readonly #done: Done
  #pieces: Array<Uint8Array> = []
  dueAt: number
  place: number | undefined

  constructor(incoming: Incoming, bounds: BodyBounds, services: BodyServices, held: HeldBody, look: Look, done: Done) {
    this.#bounds = bounds
    this.#services = services
    this.#held = held
    this.#look = look
    this.#done = done
    this.dueAt = services.clock.now() + bounds.patience
    const { message, response } = incoming.source.node()
    this.#message = message
    if (incoming.header("expect") !== undefined && message.httpVersion !== "1.0") response.writeContinue()
    services.timers.add(this)
    message.on("data", this.#onData)
    message.on("end", this.#onEnd)
    message.on("error", this.#onError)
  }

  /** Nothing more is read or told. */
  readonly stop = (): void => {
    const message = this.#message
    this.#services.timers.remove(this)
    message.off("data", this.#onData)
    message.off("end", this.#onEnd)
    message.off("error", this.#onError)
  }

  readonly expire = (): void => this.#refuse(tooSlow())

  readonly #onData = (piece: Uint8Array): void => {
    this.#held.grow(piece.length)
    if (this.#held.together > this.#bounds.together) return this.#refuse(noRoom())
    this.#pieces.push(piece)
    this.dueAt = this.#services.clock.now() + this.#bounds.patience
    const next = this.#look(piece)
    if (Result.isFailure(next)) return this.#refuse(next.failure)
    if (next.success === "more") return
    this.#message.pause()
    this.#tell(Result.succeed({ pieces: this.#pieces, isWhole: false }))
  }

  readonly #onEnd = (): void => this.#tell(Result.succeed({ pieces: this.#pieces, isWhole: true }))

  readonly #onError = (): void => this.#refuse(new InvalidRequest({ message: "The request's body broke off." }))

  #refuse(error: BodyError): void {
    this.#tell(Result.fail(error))
  }

  /** What was read is not kept here: the answer may take minutes. */
  #tell(read: Result.Result<Read, BodyError>): void {
    this.stop()
    this.#pieces = []
    this.#done(read)
  }
}

/** A body that was read with its head, as one that was read by itself. */
export const hold = (held: HeldBody, { together }: BodyBounds, body: Uint8Array): Result.Result<Read, BodyError> => {
  held.grow(body.length)
  return held.together > together ? Result.fail(noRoom()) : Result.succeed({ pieces: [body], isWhole: true })
}

/** Bytes that are copied without a pause: half a millisecond. */
const copySliceBytes = 1024 * 1024

/** All chunks as one, a single one as it is, where that takes no pause. */
export const joinedAtOnce = (chunks: ReadonlyArray<Uint8Array>, size: number): Uint8Array | undefined => {
  const [first] = chunks
  if (chunks.length === 1 && first !== undefined) return first
  return size <= copySliceBytes ? Buffer.concat(chunks, size) : undefined
}

/** The same, however long. Many are copied in slices, between which other requests get their turn. */
export const joined = (chunks: ReadonlyArray<Uint8Array>, size: number): Effect.Effect<Uint8Array> => {
  const atOnce = joinedAtOnce(chunks, size)
  if (atOnce !== undefined) return Effect.succeed(atOnce)
  const whole = Buffer.allocUnsafeSlow(size)
  let at = 0
  let next = 0
  const goOn: Effect.Effect<Uint8Array> = Effect.suspend(() => {
    for (const until = at + copySliceBytes; at < until; next++) {
      const chunk = chunks[next]
      if (chunk === undefined) return Effect.succeed(whole)
      whole.set(chunk, at)
      at += chunk.length
    }
    return Effect.flatMap(Effect.yieldNow, () => goOn)
  })
  return goOn
}

const noRoom = () =>
  new QueueFull({ message: "Too many large requests are under way. Please try again.", retryAfter: 1 })

const tooSlow = () => new RequestTimeout({ message: "The request's body came too slowly." })
