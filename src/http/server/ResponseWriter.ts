/**
 * Puts the answer of a backend on the wire.
 *
 * Written to Node's response itself, and not as an `HttpServerResponse`: that would copy the headers three times (some
 * 6 µs a request) and wake a fiber for every piece of a stream (some 5 µs each). What Effect's server promises is kept
 * here: nothing is written for a client that has gone, a body that breaks off breaks the connection, and what is still
 * on its way to a slow client is waited for.
 */
import { type OutgoingHttpHeaders, ServerResponse } from "node:http"
import type { Writable } from "node:stream"
import { Effect } from "effect"
import { HttpServerResponse } from "effect/http"
import type { GatewayError } from "../../domain/Errors.ts"
import type { ProxyResponse, StreamBody } from "../../proxy/Proxy.ts"
import { errorResponse } from "../ErrorBody.ts"
import type { Incoming } from "../Incoming.ts"
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
    const { body, status } = answer
    const length = body instanceof Uint8Array ? body.length : answer.contentLength
    const headers: OutgoingHttpHeaders = answer.headers
    if (length !== undefined && !bodiless.has(status)) headers["content-length"] = String(length)
    if (answer.cookies.length > 0) headers["set-cookie"] = [...answer.cookies]
    // The rest of a request that is not read must not be taken for the next one.
    if (isHttp1(incoming) && !incoming.message.complete) headers["connection"] = "close"
    writeHead(incoming, status, headers)
    if (body instanceof Uint8Array) return whole(incoming, body)
    const outlet = new Outlet(response)
    const piped = pipe(incoming, outlet, body)
    const { finalEvent } = answer
    return finalEvent === undefined ? piped : Effect.onInterrupt(piped, () => conclude(response, outlet, finalEvent))
  })

const done = Effect.succeed(delivered)

const isHttp1 = ({ message }: Delivered): boolean => message.httpVersionMajor === 1

const writeHead = ({ response }: Delivered, status: number, headers: OutgoingHttpHeaders): void => {
  // The two have overloads of their own.
  if (response instanceof ServerResponse) response.writeHead(status, headers)
  else response.writeHead(status, headers)
}

const whole = ({ response }: Delivered, body: Uint8Array) => {
  if (body.length <= maxTextBytes && response instanceof ServerResponse) {
    response.end(Buffer.from(body.buffer, body.byteOffset, body.length).toString("latin1"), "latin1")
    return done
  }
  if (body.length <= sliceBytes) {
    response.end(body)
    return done
  }
  const outlet = new Outlet(response)
  outlet.write(body)
  return endOf(response, outlet)
}

const pipe = (incoming: Delivered, outlet: Outlet, body: StreamBody) => {
  const response: Writable = incoming.response
  return Effect.matchEffect(body(outlet), {
    onSuccess: () => endOf(response, outlet),
    onFailure: () => {
      // An error resets a stream of HTTP/2 with INTERNAL_ERROR; a connection of HTTP/1.1 is closed either way.
      response.destroy(isHttp1(incoming) ? undefined : brokenOff)
      return done
    }
  })
}

/** Milliseconds for a client to take how its stream ends when the gateway stops. */
const finalEventMillis = 1000

/** A client that has not gone is told why nothing more comes, and its response ends in order. */
const conclude = (
  response: Delivered["response"],
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
  response.destroyed || ("stream" in response && response.stream.destroyed)

/** A client that is still there and has got nothing yet is told why nothing will come. */
export const refuseUnanswered = (
  incoming: Pick<Incoming, "message" | "path" | "response">,
  error: GatewayError,
  more: Record<string, string>
): void => {
  const { path, response } = incoming
  if (response.headersSent || isGone(response)) return
  const { body, headers, status } = errorResponse(error, path)
  writeHead(incoming, status, { ...headers, ...more, "content-length": String(Buffer.byteLength(body)) })
  response.end(body)
}

const brokenOff = new Error("the backend broke off")

/** It is waited until the client has it all: it may be slow, and the gateway about to stop. */
const endOf = (response: Writable, outlet: Outlet): Effect.Effect<HttpServerResponse.HttpServerResponse> =>
  Effect.suspend(() => {
    if (response.destroyed) return done
    if (!outlet.isEmpty) return Effect.andThen(untilReady(response, outlet), endOf(response, outlet))
    response.end()
    return response.writableLength > 0 ? Effect.as(untilSent(response), delivered) : done
  })

/** The outlet is empty, or the client has gone. */
const untilReady = (response: Writable, outlet: Outlet): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const ready = () => resume(Effect.void)
    outlet.onDrain(ready)
    response.once("close", ready)
    return Effect.sync(() => response.off("close", ready))
  })

/** The last of it is with the system, or the client has gone. */
const untilSent = (response: Writable): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const sent = () => resume(Effect.void)
    response.once("finish", sent)
    response.once("close", sent)
    return Effect.sync(() => {
      response.off("finish", sent)
      response.off("close", sent)
    })
  })
