/** Reading a body: up to the limit, not from a client that lets us wait, and not more of them at once than fit. */
import { Effect, Stream } from "effect"
import { InvalidRequest, QueueFull, RequestTimeout, RequestTooLarge } from "../domain/Errors.ts"
import { bodyTooLarge, bodyTooSlow, type Payload, type UpstreamBody, UpstreamFailed } from "../proxy/Proxy.ts"
import type { Deadlines, Timed } from "../resilience/Deadlines.ts"
import type { Incoming } from "./Incoming.ts"

type BodyError = RequestTooLarge | RequestTimeout | InvalidRequest | QueueFull

export interface BodyBounds {
  /** Bytes. */
  readonly limit: number
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
  }
}

const tooLarge = (limit: number) =>
  new RequestTooLarge({ message: `The body is larger than the limit of ${limit} bytes.` })

const noRoom = () =>
  new QueueFull({ message: "Too many large requests are under way. Please try again.", retryAfter: 1 })

/** Whether the request announces a body at all. */
export const hasBody = ({ header }: Incoming): boolean => {
  const length = header("content-length")
  return header("transfer-encoding") !== undefined || (length !== undefined && length !== "0")
}

/** What is announced as too large is refused before any of it is read. */
export const announcedTooLarge = ({ header }: Incoming, limit: number): RequestTooLarge | undefined =>
  Number(header("content-length") ?? 0) > limit ? tooLarge(limit) : undefined

/** A body that has to be understood must come as it is: what must be unpacked first has no size that could be limited. */
export const packed = ({ header }: Incoming): InvalidRequest | undefined => {
  const coding = header("content-encoding")
  if (coding === undefined || coding === "" || coding.toLowerCase() === "identity") return undefined
  return new InvalidRequest({ message: "The body must come without a Content-Encoding." })
}

/**
 * A connection can break between the moment in which Node decides to tell a reader and the one in which it does; an error
 * that nobody listens for by then would end the process.
 */
const staysListened = ({ message }: Incoming): void => {
  message.on("error", () => {})
}

/**
 * All of it, in memory. Own code around Node's events instead of `request.arrayBuffer`, which has no bound on a
 * client's silence and copies once more.
 */
export const readBody = (
  incoming: Incoming,
  { limit, patience, together }: BodyBounds,
  deadlines: Deadlines["Service"],
  held: HeldBody
): Effect.Effect<Uint8Array, BodyError> =>
  Effect.suspend(() => {
    const refused = announcedTooLarge(incoming, limit)
    if (refused !== undefined) return Effect.fail(refused)
    staysListened(incoming)
    return Effect.callback<Uint8Array, BodyError>((resume) => {
      const { message } = incoming
      const chunks: Array<Uint8Array> = []
      const refuse = (error: BodyError) => {
        stop()
        resume(Effect.fail(error))
      }
      const timed: Timed = {
        dueAt: deadlines.now() + patience,
        expire: () => refuse(tooSlow())
      }
      const onData = (chunk: Uint8Array) => {
        held.grow(chunk.length)
        if (held.size > limit) return refuse(tooLarge(limit))
        if (held.together > together) return refuse(noRoom())
        chunks.push(chunk)
        timed.dueAt = deadlines.now() + patience
      }
      const onEnd = () => {
        stop()
        resume(joined(chunks, held.size))
      }
      const onError = () => refuse(new InvalidRequest({ message: "The request's body broke off." }))
      const stop = () => {
        deadlines.remove(timed)
        message.off("data", onData)
        message.off("end", onEnd)
        message.off("error", onError)
      }
      if (incoming.header("expect") !== undefined && message.httpVersion !== "1.0") incoming.response.writeContinue()
      deadlines.add(timed)
      message.on("data", onData)
      message.on("end", onEnd)
      message.on("error", onError)
      return Effect.sync(stop)
    })
  })

/** Bytes that are copied without a pause: half a millisecond. */
const copiedAtOnce = 1024 * 1024

/** All chunks as one, a single one as it is. Many are copied in slices, between which other requests get their turn. */
const joined = (chunks: ReadonlyArray<Uint8Array>, size: number): Effect.Effect<Uint8Array> => {
  const [first] = chunks
  if (chunks.length === 1 && first !== undefined) return Effect.succeed(first)
  if (size <= copiedAtOnce) return Effect.succeed(Buffer.concat(chunks, size))
  const whole = Buffer.allocUnsafeSlow(size)
  let at = 0
  let next = 0
  const goOn: Effect.Effect<Uint8Array> = Effect.suspend(() => {
    for (const until = at + copiedAtOnce; at < until; next++) {
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
export const streamBody = (
  incoming: Incoming,
  { limit, patience }: BodyBounds
): Stream.Stream<Uint8Array, UpstreamFailed> => {
  staysListened(incoming)
  return Stream.suspend(() => {
    let size = 0
    return incoming.request.stream.pipe(
      Stream.mapError(() => new UpstreamFailed({ kind: "request_body", detail: "broke off" })),
      Stream.timeoutOrElse({ duration: patience, orElse: () => Stream.fail(bodyTooSlow) }),
      Stream.tap((chunk) => {
        size += chunk.length
        return size > limit ? Effect.fail(bodyTooLarge) : Effect.void
      })
    )
  })
}
