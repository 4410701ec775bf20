/** Reading a body: up to the limit, not from a client that lets us wait, and not more of them at once than fit. */
import { Duration, Effect, Result, Stream } from "effect"
import type { HttpServerRequest } from "effect/http"
import { Pieces } from "../domain/Bytes.ts"
import { InvalidRequest, RequestTooLarge } from "../domain/Errors.ts"
import type { Listener } from "../domain/Listener.ts"
import { type BadMultipart, boundaryOf, MultipartModel, RequestBodyFailed, type UpstreamBody } from "../proxy/Proxy.ts"
import type { Snapshot } from "../registry/Registry.ts"
import {
  type BodyBounds,
  type BodyError,
  BodyReading,
  type BodyServices,
  type Done,
  enough,
  type HeldBody,
  joined,
  type Look,
  more,
  type Read
} from "./BodyReading.ts"
import type { Incoming } from "./Incoming.ts"

const tooLarge = (setting: "maxBodyBytes" | "maxUploadBytes", limit: number) =>
  new RequestTooLarge({ message: `The body is larger than the limit of ${limit} bytes (limits.${setting}).` })

/** As they come, where they are not read into memory. */
type IncomingBytes = HttpServerRequest.HttpServerRequest["stream"]

/** How a request's body is taken: not at all, as a whole, as it comes, or as an upload. */
export type TakenAs = "none" | "whole" | "stream" | { readonly boundary: string }

export const takenAs = (incoming: Incoming): TakenAs => {
  const { header, method } = incoming
  const endpoint = method === "POST" ? incoming.endpoint : undefined
  const isRequired = endpoint?.requiresModel === true
  if (!isRequired && !hasBody(incoming)) return "none"
  const type = header("content-type") ?? ""
  if (isRequired || json.test(type) || (endpoint !== undefined && unsaid.test(type))) return "whole"
  const boundary = method === "POST" ? boundaryOf(type) : undefined
  return boundary === undefined ? "stream" : { boundary }
}

const json = /^application\/([\w.+-]+\+)?json\b/i

/** What clients send JSON as that do not say so: `curl -d` among them. */
const unsaid = /^(?:$|application\/x-www-form-urlencoded|text\/plain)/i

export const boundsOf = ({ config: { limits } }: Snapshot, { connectTimeout }: Listener): BodyBounds => ({
  limit: limits.maxBodyBytes,
  uploadLimit: limits.maxUploadBytes,
  // One fits always.
  together: Math.max(limits.maxBufferedBytes, limits.maxBodyBytes),
  patience: Duration.toMillis(connectTimeout) || Number.POSITIVE_INFINITY
})

/** Whether the request announces a body at all. */
export const hasBody = ({ header }: Incoming): boolean => {
  const length = header("content-length")
  return header("transfer-encoding") !== undefined || (length !== undefined && length !== "0")
}

/** What is announced as too large is refused before any of it is read. */
export const announcedTooLarge = (
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
const staysListened = ({ source }: Incoming): void => {
  source.node().message.on("error", () => {})
}

const readPieces = (
  incoming: Incoming,
  bounds: BodyBounds,
  services: BodyServices,
  held: HeldBody,
  look: Look
): Effect.Effect<Read, BodyError> =>
  Effect.callback<Read, BodyError>((resume) => {
    const done: Done = (read) => resume(Effect.fromResult(read))
    const reading = new BodyReading(incoming, bounds, services, held, look, done)
    return Effect.sync(reading.stop)
  })

/** Whether a body is no longer than what may be held. */
const lookAtSize =
  (held: HeldBody, limit: number): Look =>
  () =>
    held.size > limit ? Result.fail(tooLarge("maxBodyBytes", limit)) : more

/**
 * All of a body, for what has no fiber. The announced size is within the limit. What comes of it is told once, unless it
 * is stopped before.
 */
export const readBodyDirectly = (
  incoming: Incoming,
  bounds: BodyBounds,
  services: BodyServices,
  held: HeldBody,
  done: Done
): (() => void) => {
  staysListened(incoming)
  return new BodyReading(incoming, bounds, services, held, lookAtSize(held, bounds.limit), done).stop
}

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
    const look = lookAtSize(held, limit)
    return Effect.flatMap(readPieces(incoming, bounds, services, held, look), ({ pieces }) => joined(pieces, held.size))
  })

/** As it comes, for what is passed through; what is too long or too slow breaks off. */
export const streamBody = (
  incoming: Incoming,
  bytes: IncomingBytes,
  bounds: BodyBounds
): Effect.Effect<UpstreamBody, RequestTooLarge> =>
  Effect.suspend(() => {
    const refused = announcedTooLarge(incoming, "maxUploadBytes", bounds.uploadLimit)
    if (refused !== undefined) return Effect.fail(refused)
    staysListened(incoming)
    return Effect.succeed(restOf(bytes, bounds, 0, () => undefined))
  })

/** What is still to come of a body of which `before` bytes are read. `look` may end it with a failure. */
const restOf = (
  bytes: IncomingBytes,
  { patience, uploadLimit }: BodyBounds,
  before: number,
  look: (piece: Uint8Array) => RequestBodyFailed | undefined
): Stream.Stream<Uint8Array, RequestBodyFailed> =>
  Stream.suspend(() => {
    let size = before
    return bytes.pipe(
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
  bytes: IncomingBytes,
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
      const { isWhole, pieces } = yield* readPieces(incoming, bounds, services, held, look)
      const read = yield* joined(pieces, held.size)
      const { found } = reader
      // A second name behind the first would be another one for some engines: nothing of it may get to its end there.
      const rest = restOf(bytes, bounds, held.size, (piece) => {
        reader.push(piece)
        return reader.problem && new RequestBodyFailed({ reason: "two_models" })
      })
      const bodyOf = (...parts: ReadonlyArray<Uint8Array>): UpstreamBody =>
        isWhole ? new Pieces(parts) : Stream.concat(Stream.fromIterable(parts), rest)
      const body = isWhole ? read : bodyOf(read)
      if (found !== undefined) {
        const { end, model, start } = found
        const named = (name: string) =>
          name === model ? body : bodyOf(read.subarray(0, start), Buffer.from(name, "utf8"), read.subarray(end))
        held.form = { model, named }
      }
      return body
    })
  })

const badUpload = ({ message }: BadMultipart): InvalidRequest => new InvalidRequest({ message, param: "model" })
