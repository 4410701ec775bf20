/** The faults that happen to an answer's body while it is sent. */
import { gzipSync } from "node:zlib"
import { Duration, Effect, Option, Stream } from "effect"
import { HttpServerResponse } from "effect/http"
import { gzipStream } from "./Compression.ts"
import type { Exchange } from "./Exchange.ts"
import type { FaultOf, RequestFault } from "./Faults.ts"
import type { Instance } from "./Instance.ts"
import { breakOff } from "./WireFaults.ts"

/**
 * What a fault makes of an answer that is whole. `tokens` is how many tokens the body stands for (at least
 * 1), so that `afterTokens` has a meaning; a `slow_first_token` was the engine's affair where there is an engine.
 */
export const sendWhole = (
  instance: Instance,
  exchange: Exchange["Service"],
  response: HttpServerResponse.HttpServerResponse,
  fault: RequestFault | undefined,
  tokens: number
): HttpServerResponse.HttpServerResponse => {
  const bytes = bodyBytes(response)
  if (fault === undefined || bytes === undefined) return response
  const known = { ...response.headers, "content-length": String(bytes.length) }
  const upTo = ({ afterTokens, fraction }: { readonly afterTokens?: number; readonly fraction?: number }) =>
    bytes.subarray(0, Math.floor(bytes.length * (afterTokens === undefined ? (fraction ?? 0.4) : afterTokens / tokens)))
  switch (fault.kind) {
    case "cut":
    case "die": {
      const broken = Stream.fromEffect(breakOff(instance, exchange, fault.kind === "die"))
      return streamed(response, Stream.concat(Stream.make(upTo(fault)), broken), known)
    }
    case "clean_cut":
      return streamed(response, Stream.make(upTo(fault)), unsized(response))
    case "malformed":
      return HttpServerResponse.uint8Array(bytes.subarray(0, -1), {
        status: response.status,
        headers: unsized(response)
      })
    case "stall": {
      const first = upTo(fault)
      const rest = Stream.fromEffect(Effect.as(stalling(fault), bytes.subarray(first.length)))
      return streamed(response, Stream.concat(Stream.make(first), rest), known)
    }
    case "gzip":
      return HttpServerResponse.uint8Array(gzipSync(bytes), {
        status: response.status,
        headers: { ...unsized(response), "content-encoding": "gzip" }
      })
    case "trickle":
      return streamed(response, trickled(Stream.make(bytes), fault), known)
    default:
      return response
  }
}

/** What a fault makes of the bytes of a stream of events: its headers, and how they are sent. */
export const sendEvents = (
  events: Stream.Stream<Uint8Array>,
  fault: RequestFault | undefined
): HttpServerResponse.HttpServerResponse => {
  const headers = { "cache-control": "no-cache" }
  const options = { contentType: "text/event-stream", headers }
  switch (fault?.kind) {
    case "gzip":
      return HttpServerResponse.stream(gzipStream(events), {
        ...options,
        headers: { ...headers, "content-encoding": "gzip" }
      })
    case "trickle":
      return HttpServerResponse.stream(trickled(events, fault), options)
    default:
      return HttpServerResponse.stream(events, options)
  }
}

const streamed = (
  response: HttpServerResponse.HttpServerResponse,
  body: Stream.Stream<Uint8Array>,
  headers: Record<string, string>
) => HttpServerResponse.stream(body, { status: response.status, headers })

const unsized = (response: HttpServerResponse.HttpServerResponse): Record<string, string> =>
  Object.fromEntries(Object.entries(response.headers).filter(([name]) => name !== "content-length"))

const bodyBytes = ({ body }: HttpServerResponse.HttpServerResponse): Uint8Array | undefined =>
  body._tag === "Uint8Array" ? body.body : body._tag === "Empty" ? new Uint8Array() : undefined

const stalling = (fault: FaultOf<"stall">): Effect.Effect<void> =>
  fault.for === undefined ? Effect.never : Effect.sleep(fault.for)

/** One byte at a time. */
const trickled = (
  self: Stream.Stream<Uint8Array>,
  { bytesPerSecond }: FaultOf<"trickle">
): Stream.Stream<Uint8Array> => {
  const gap = Duration.millis(1000 / bytesPerSecond)
  return self.pipe(
    Stream.flatMap((chunk) => Stream.fromIterable(chunk)),
    Stream.rechunk(1),
    Stream.mapEffect((byte) => Effect.as(Effect.sleep(gap), Uint8Array.of(byte)))
  )
}

/** Delays an answer that no engine has a part in. */
export const delayOf = (fault: RequestFault | undefined): Option.Option<Duration.Duration> =>
  fault?.kind === "slow_first_token" ? Option.some(fault.delay) : Option.none()
