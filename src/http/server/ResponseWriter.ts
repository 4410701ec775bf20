/**
 * Puts the answer of a backend on the wire.
 *
 * Written to Node's response itself, and not as an `HttpServerResponse`: that would copy the headers three times (some
 * 6 µs a request) and wake a fiber for every piece of a stream (some 5 µs each). What Effect's server promises is kept
 * here: nothing is written for a client that has gone, a body that breaks off breaks the connection, and what is still
 * on its way to a slow client is waited for.
 */
import type { OutgoingHttpHeaders } from "node:http"
import { Http2ServerResponse } from "node:http2"
import { Effect } from "effect"
import { HttpServerResponse } from "effect/http"
import type { GatewayError } from "../../domain/Errors.ts"
import type { BodyListener, ProxyResponse } from "../../proxy/Proxy.ts"
import { errorResponse } from "../ErrorBody.ts"
import type { Incoming, OutgoingResponse } from "../Incoming.ts"
import { Outlet, sliceBytes } from "./Outlet.ts"

/** What is answered, and on what. */
type Delivered = Pick<Incoming, "message" | "response">

/** What Effect's server is told: it adds nothing to a response that has ended. */
const delivered = HttpServerResponse.empty()

/** Up to here a body and its head are one piece of text: one write of one buffer. */
const maxTextBytes = 16_384

/** Of these, HTTP says that they have no body and no length. */
const bodiless = new Set([204, 205, 304])

/** Interrupted when the client leaves. */
export const deliver = (
  incoming: Delivered,
  answer: ProxyResponse
): Effect.Effect<HttpServerResponse.HttpServerResponse> =>
  Effect.suspend(() => {
    const { response } = incoming
    if (response.destroyed) return done
    writeAnswerHead(incoming, answer)
    const { body, finalEvent } = answer
    const outlet = new Outlet(response)
    if (body instanceof Uint8Array) return writeWhole(response, outlet, body) ? done : endOf(response, outlet)
    const piped = Effect.matchEffect(body.pipe(outlet), {
      onSuccess: () => endOf(response, outlet),
      onFailure: () => {
        breakOff(incoming)
        return done
      }
    })
    return finalEvent === undefined ? piped : Effect.onInterrupt(piped, () => conclude(incoming, outlet, finalEvent))
  })

/** An answer that is written without a fiber. */
export interface OngoingAnswer {
  /** Nothing more is written or told. */
  readonly letGo: () => void
  /** What is still to be said where the gateway gives the answer up. */
  readonly conclude: Effect.Effect<void>
}

/** The same for what has no fiber; `undefined`: `ended` is told already. The body has a form for callbacks. */
export const deliverDirectly = (
  incoming: Delivered,
  answer: ProxyResponse,
  ended: BodyListener
): OngoingAnswer | undefined => {
  const { response } = incoming
  const over = () => ended.ended(undefined)
  if (response.destroyed) {
    over()
    return undefined
  }
  writeAnswerHead(incoming, answer)
  const { body, finalEvent } = answer
  const outlet = new Outlet(response)
  if (body instanceof Uint8Array) {
    if (writeWhole(response, outlet, body)) over()
    else endWhenTaken(response, outlet, over)
    return undefined
  }
  body.pipeTo?.(outlet, {
    ended: (failure) => {
      if (failure !== undefined) {
        breakOff(incoming)
        return over()
      }
      endWhenTaken(response, outlet, over)
    },
    died: ended.died
  })
  return {
    letGo: body.letGo,
    conclude: finalEvent === undefined ? Effect.void : conclude(incoming, outlet, finalEvent)
  }
}

const done = Effect.succeed(delivered)

const writeAnswerHead = (incoming: Delivered, answer: ProxyResponse): void => {
  const { body, status } = answer
  const length = body instanceof Uint8Array ? body.length : answer.contentLength
  const headers: OutgoingHttpHeaders = answer.headers
  if (length !== undefined && !bodiless.has(status)) headers["content-length"] = String(length)
  if (answer.cookies.length > 0) headers["set-cookie"] = [...answer.cookies]
  // The rest of a request that is not read must not be taken for the next one.
  if (isHttp1(incoming) && !incoming.message.complete) headers["connection"] = "close"
  incoming.response.writeHead(status, headers)
}

const isHttp1 = ({ message }: Delivered): boolean => message.httpVersionMajor === 1

/** Whether that is all of it; else the rest waits in the outlet. */
const writeWhole = (response: Delivered["response"], outlet: Outlet, body: Uint8Array): boolean => {
  if (body.length <= maxTextBytes && !(response instanceof Http2ServerResponse)) {
    response.end(Buffer.from(body.buffer, body.byteOffset, body.length).toString("latin1"), "latin1")
    return true
  }
  if (body.length <= sliceBytes) {
    response.end(body)
    return true
  }
  outlet.write(body)
  return false
}

export const breakOff = (incoming: Delivered): void => {
  // An error resets a stream of HTTP/2 with INTERNAL_ERROR; a connection of HTTP/1.1 is closed either way.
  incoming.response.destroy(isHttp1(incoming) ? undefined : brokenOff)
}

/** Milliseconds for a client to take how its stream ends when the gateway stops. */
const finalEventMillis = 1000

/** A client that has not gone is told why nothing more comes, and its response ends in order. */
const conclude = (
  { response }: Delivered,
  outlet: Outlet,
  finalEvent: NonNullable<ProxyResponse["finalEvent"]>
): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (isGone(response)) return Effect.void
    const event = finalEvent()
    if (event !== undefined) outlet.write(event)
    return Effect.asVoid(Effect.timeoutOption(Effect.interruptible(endOf(response, outlet)), finalEventMillis))
  })

/** Whether nothing reaches its client any more: of HTTP/2 the stream may be closed before the response is. */
const isGone = (response: Delivered["response"]): boolean =>
  response.destroyed || (response instanceof Http2ServerResponse && response.stream.destroyed)

/** A client that is still there and has got nothing yet is told why nothing will come. */
export const refuseUnanswered = (
  incoming: Pick<Incoming, "message" | "path" | "response">,
  error: GatewayError,
  more: Record<string, string>
): void => {
  const { path, response } = incoming
  if (response.headersSent || isGone(response)) return
  const { body, headers, status } = errorResponse(error, path)
  response.writeHead(status, { ...headers, ...more, "content-length": String(Buffer.byteLength(body)) })
  response.end(body)
}

const brokenOff = new Error("the backend broke off")

const endOf = (response: OutgoingResponse, outlet: Outlet): Effect.Effect<HttpServerResponse.HttpServerResponse> =>
  Effect.callback((resume) => Effect.sync(endWhenTaken(response, outlet, () => resume(done))))

/**
 * Ends a response, and tells `ended` when the client has it all, or has gone: it may be slow, and the gateway about to
 * stop. What is returned stops the waiting.
 */
const endWhenTaken = (response: OutgoingResponse, outlet: Outlet, ended: () => void): (() => void) => {
  if (response.destroyed) ended()
  else if (!outlet.isEmpty) return untilReady(response, outlet, () => endWhenTaken(response, outlet, ended))
  else {
    response.end()
    if (response.writableLength > 0) return untilSent(response, ended)
    ended()
  }
  return noop
}

const noop = () => {}

/** The outlet is empty, or the client has gone. */
const untilReady = (response: OutgoingResponse, outlet: Outlet, next: () => () => void): (() => void) => {
  let stop = () => {
    stop = noop
    response.off("close", ready)
  }
  const ready = () => {
    if (stop === noop) return
    stop()
    stop = next()
  }
  response.once("close", ready)
  outlet.onDrain(ready)
  return () => stop()
}

/** The last of it is with the system, or the client has gone. */
const untilSent = (response: OutgoingResponse, ended: () => void): (() => void) => {
  const stop = () => {
    response.off("finish", sent)
    response.off("close", sent)
  }
  const sent = () => {
    stop()
    ended()
  }
  response.once("finish", sent)
  response.once("close", sent)
  return stop
}
