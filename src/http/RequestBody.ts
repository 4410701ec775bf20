/** Reading a body: up to the limit, not from a client that lets us wait, and not more of them at once than fit. */
import { Effect, Result, Stream } from "effect"
import { Pieces } from "../domain/Bytes.ts"
import { InvalidRequest, QueueFull, RequestTimeout, RequestTooLarge } from "../domain/Errors.ts"
import type { MonotonicClock } from "../domain/MonotonicClock.ts"
import {
  type BadMultipart,
  type ModelForm,
  MultipartModel,
  type Payload,
  RequestBodyFailed,
  type UpstreamBody
} from "../proxy/Proxy.ts"
import type { Timed, Timers } from "../resilience/Timers.ts"
import type { Incoming } from "./Incoming.ts"

type BodyError = RequestTooLarge | RequestTimeout | InvalidRequest | QueueFull

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

const tooLarge = (setting: "maxBodyBytes" | "maxUploadBytes", limit: number) =>
  new RequestTooLarge({ message: `The body is larger than the limit of ${limit} bytes (limits.${setting}).` })

const noRoom = () =>
  new QueueFull({ message: "Too many large requests are under way. Please try again.", retryAfter: 1 })

/** Whether the request announces a body at all. */
export const hasBody = ({ header }: Incoming): boolean => {
  const length = header("content-length")
  return header("transfer-encoding") !== undefined || (length !== undefined && length !== "0")
}

/** What is announced as too large is refused before any of it is read. */
const announcedTooLarge = (
  { header }: Incoming,
  setting: "maxBodyBytes" | "maxUploadBytes",
  limit: number
): RequestTooLarge | undefined => (Number(header("content-length") ?? 0) > limit ? tooLarge(setting, limit) : undefined)

/** A body that has to be understood must come as it is: what must be unpacked first has no size that could be limited. */
export const packed = ({ header }: Incoming): InvalidRequest | undefined => {
  const coding = header("content-encoding")
  if (coding === undefined || coding === "" || coding.toLowerCase() === "identity") return undefined
  return new InvalidRequest({ message: "The body must come without a Content-Encoding." })
}

/**
 * A connection can break between the moment in which Node decides to tell a reader and the one in which it does; an error
 * that has no listener by then would end the process.
 */
const staysListened = ({ message }: Incoming): void => {
  message.on("error", () => {})
}

export interface BodyServices {
  readonly clock: MonotonicClock["Service"]
  readonly timers: Timers["Service"]
}

/** What was read of a body. */
interface Read {
  readonly pieces: ReadonlyArray<Uint8Array>
  /** Whether that is all of it. */
  readonly isWhole: boolean
}

/** What follows from a piece: more is wanted, or no more, or the request is refused. */
type Look = (piece: Uint8Array) => Result.Result<"more" | "enough", BodyError>

const more = Result.succeed("more" as const)
const enough = Result.succeed("enough" as const)

/**
 * As much of a body as `look` wants, in memory. Own code around Node's events instead of `request.arrayBuffer`, which has
 * no bound on a client's silence, does not stop before the end, and copies once more.
 */
const read = (
  incoming: Incoming,
  { patience, together }: BodyBounds,
  { clock, timers }: BodyServices,
  held: HeldBody,
  look: Look
): Effect.Effect<Read, BodyError> =>
  Effect.callback<Read, BodyError>((resume) => {
    const { message } = incoming
    const pieces: Array<Uint8Array> = []
    const refuse = (error: BodyError) => {
      stop()
      resume(Effect.fail(error))
    }
    const timed: Timed = {
      dueAt: clock.now() + patience,
      expire: () => refuse(tooSlow())
    }
    const onData = (piece: Uint8Array) => {
      held.grow(piece.length)
      if (held.together > together) return refuse(noRoom())
      pieces.push(piece)
      timed.dueAt = clock.now() + patience
      const next = look(piece)
      if (Result.isFailure(next)) return refuse(next.failure)
      if (next.success === "more") return
      message.pause()
      stop()
      resume(Effect.succeed({ pieces, isWhole: false }))
    }
    const onEnd = () => {
      stop()
      resume(Effect.succeed({ pieces, isWhole: true }))
    }
    const onError = () => refuse(new InvalidRequest({ message: "The request's body broke off." }))
    const stop = () => {
      timers.remove(timed)
      message.off("data", onData)
      message.off("end", onEnd)
      message.off("error", onError)
    }
    if (incoming.header("expect") !== undefined && message.httpVersion !== "1.0") incoming.response.writeContinue()
    timers.add(timed)
    message.on("data", onData)
    message.on("end", onEnd)
    message.on("error", onError)
    return Effect.sync(stop)
  })

/** All of it, in memory. */
export const readBody = (
  incoming: Incoming,
  bounds: BodyBounds,
  services: BodyServices,
  held: HeldBody
): Effect.Effect<Uint8Array, BodyError> =>
  Effect.suspend(() => {
    const { limit } = bounds
    const refused = announcedTooLarge(incoming, "maxBodyBytes", limit)
    if (refused !== undefined) return Effect.fail(refused)
    staysListened(incoming)
    const look: Look = () => (held.size > limit ? Result.fail(tooLarge("maxBodyBytes", limit)) : more)
    return Effect.flatMap(read(incoming, bounds, services, held, look), ({ pieces }) => joined(pieces, held.size))
  })

/** Bytes that are copied without a pause: half a millisecond. */
const copySliceBytes = 1024 * 1024

/** All chunks as one, a single one as it is. Many are copied in slices, between which other requests get their turn. */
const joined = (chunks: ReadonlyArray<Uint8Array>, size: number): Effect.Effect<Uint8Array> => {
  const [first] = chunks
  if (chunks.length === 1 && first !== undefined) return Effect.succeed(first)
  if (size <= copySliceBytes) return Effect.succeed(Buffer.concat(chunks, size))
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

const tooSlow = () => new RequestTimeout({ message: "The request's body came too slowly." })

/** As it comes, for what is passed through; what is too long or too slow breaks off. */
export const streamBody = (incoming: Incoming, bounds: BodyBounds): Effect.Effect<UpstreamBody, RequestTooLarge> =>
  Effect.suspend(() => {
    const refused = announcedTooLarge(incoming, "maxUploadBytes", bounds.uploadLimit)
    if (refused !== undefined) return Effect.fail(refused)
    staysListened(incoming)
    return Effect.succeed(restOf(incoming, bounds, 0, () => undefined))
  })

/** What is still to come of a body of which `before` bytes are read. `look` may end it with a failure. */
const restOf = (
  incoming: Incoming,
  { patience, uploadLimit }: BodyBounds,
  before: number,
  look: (piece: Uint8Array) => RequestBodyFailed | undefined
): Stream.Stream<Uint8Array, RequestBodyFailed> =>
  Stream.suspend(() => {
    let size = before
    return incoming.request.stream.pipe(
      Stream.mapError(() => new RequestBodyFailed({ reason: "broken" })),
      Stream.timeoutOrElse({
        duration: patience,
        orElse: () => Stream.fail(new RequestBodyFailed({ reason: "too_slow" }))
      }),
      Stream.tap((piece) => {
        size += piece.length
        const failure = size > uploadLimit ? new RequestBodyFailed({ reason: "too_large" }) : look(piece)
        return failure === undefined ? Effect.void : Effect.fail(failure)
      })
    )
  })

/** Bytes behind the model's name that are read with it: the end of the form, and fields beside it. */
const formTailBytes = 65_536

/**
 * A multipart upload. Its model is looked for while up to the bound of a body is held: most programs write it behind the
 * file. Once it is known, or the bound is reached, the rest comes while it is sent on.
 */
export const readUpload = (
  incoming: Incoming,
  bounds: BodyBounds,
  services: BodyServices,
  held: HeldBody,
  boundary: string
): Effect.Effect<UpstreamBody, BodyError> =>
  Effect.suspend(() => {
    const refused = announcedTooLarge(incoming, "maxUploadBytes", bounds.uploadLimit)
    if (refused !== undefined) return Effect.fail(refused)
    staysListened(incoming)
    const reader = new MultipartModel(boundary)
    const announced = Number(incoming.header("content-length") ?? Number.POSITIVE_INFINITY)
    const look: Look = (piece) => {
      reader.push(piece)
      if (reader.problem !== undefined) return Result.fail(badUpload(reader.problem))
      if (held.size >= bounds.limit) return enough
      // What is nearly there is waited for: held whole, it can be sent again.
      return reader.found === undefined || announced - held.size <= formTailBytes ? more : enough
    }
    return Effect.gen(function* () {
      const { isWhole, pieces } = yield* read(incoming, bounds, services, held, look)
      const bytes = yield* joined(pieces, held.size)
      const { found } = reader
      // A second name behind the first would be another one for some engines: nothing of it may get to its end there.
      const rest = restOf(incoming, bounds, held.size, (piece) => {
        reader.push(piece)
        return reader.problem && new RequestBodyFailed({ reason: "two_models" })
      })
      const bodyOf = (...parts: ReadonlyArray<Uint8Array>): UpstreamBody =>
        isWhole ? new Pieces(parts) : Stream.concat(Stream.fromIterable(parts), rest)
      const whole = isWhole ? bytes : bodyOf(bytes)
      if (found !== undefined) {
        const { end, model, start } = found
        const named = (name: string) =>
          name === model ? whole : bodyOf(bytes.subarray(0, start), Buffer.from(name, "utf8"), bytes.subarray(end))
        held.form = { model, named }
      }
      return whole
    })
  })

const badUpload = ({ message }: BadMultipart): InvalidRequest => new InvalidRequest({ message, param: "model" })
