/** Reading a body: up to the limit, and not from a client that lets us wait. */
import { Effect, Stream } from "effect"
import { InvalidRequest, RequestTimeout, RequestTooLarge } from "../domain/Errors.ts"
import { bodyTooLarge, UpstreamFailed } from "../proxy/Proxy.ts"
import type { Deadlines, Timed } from "../resilience/Deadlines.ts"
import type { Incoming } from "./Incoming.ts"

type BodyError = RequestTooLarge | RequestTimeout | InvalidRequest

export interface BodyBounds {
  /** Bytes. */
  readonly limit: number
  /** Milliseconds without a byte after which the client is too slow. */
  readonly patience: number
}

const tooLarge = (limit: number) =>
  new RequestTooLarge({ message: `The body is larger than the limit of ${limit} bytes.` })

/** Whether the request announces a body at all. */
export const hasBody = ({ header }: Incoming): boolean => {
  const length = header("content-length")
  return header("transfer-encoding") !== undefined || (length !== undefined && length !== "0")
}

/** What is announced as too large is refused before any of it is read. */
export const announcedTooLarge = ({ header }: Incoming, limit: number): RequestTooLarge | undefined =>
  Number(header("content-length") ?? 0) > limit ? tooLarge(limit) : undefined

/**
 * All of it, in memory. Own code around Node's events instead of `request.arrayBuffer`, which has no bound on a
 * client's silence and copies once more.
 */
export const readBody = (
  incoming: Incoming,
  { limit, patience }: BodyBounds,
  deadlines: Deadlines["Service"]
): Effect.Effect<Uint8Array, BodyError> =>
  Effect.suspend(() => {
    const announced = announcedTooLarge(incoming, limit)
    if (announced !== undefined) return Effect.fail(announced)
    return Effect.callback<Uint8Array, BodyError>((resume) => {
      const { message } = incoming
      const chunks: Array<Uint8Array> = []
      let size = 0
      const timed: Timed = {
        dueAt: deadlines.now() + patience,
        expire: () => {
          stop()
          resume(Effect.fail(new RequestTimeout({ message: "The request's body came too slowly." })))
        }
      }
      const onData = (chunk: Uint8Array) => {
        size += chunk.length
        if (size > limit) {
          stop()
          resume(Effect.fail(tooLarge(limit)))
          return
        }
        chunks.push(chunk)
        timed.dueAt = deadlines.now() + patience
      }
      const onEnd = () => {
        stop()
        const [first] = chunks
        resume(Effect.succeed(chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks, size)))
      }
      const onError = () => {
        stop()
        resume(Effect.fail(new InvalidRequest({ message: "The request's body broke off." })))
      }
      const stop = () => {
        deadlines.remove(timed)
        message.off("data", onData)
        message.off("end", onEnd)
        message.off("error", onError)
      }
      if (incoming.header("expect") !== undefined) incoming.response.writeContinue()
      deadlines.add(timed)
      message.on("data", onData)
      message.on("end", onEnd)
      message.on("error", onError)
      return Effect.sync(stop)
    })
  })

/** As it comes, for what is passed through; what is too long breaks off. */
export const streamBody = ({ request }: Incoming, { limit }: BodyBounds): Stream.Stream<Uint8Array, UpstreamFailed> =>
  Stream.suspend(() => {
    let size = 0
    return request.stream.pipe(
      Stream.mapError(() => new UpstreamFailed({ kind: "request_body", detail: "broke off" })),
      Stream.tap((chunk) => {
        size += chunk.length
        return size > limit ? Effect.fail(bodyTooLarge) : Effect.void
      })
    )
  })
