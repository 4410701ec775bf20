/** The faults that replace the answer, or leave out HTTP altogether. */
import type { Socket } from "node:net"
import { TLSSocket } from "node:tls"
import { Effect } from "effect"
import { HttpServerResponse } from "effect/http"
import type { Exchange } from "./Exchange.ts"
import type { FaultOf, RequestFault } from "./Faults.ts"
import type { Instance } from "./Instance.ts"
import { codeOf, Refusal, refusalResponse } from "./Refusal.ts"

/** What happens instead of the answer, or `undefined` where the fault is about the answer's body. */
export const insteadOfAnswer = (
  instance: Instance,
  exchange: Exchange["Service"],
  fault: RequestFault | undefined
): Effect.Effect<HttpServerResponse.HttpServerResponse> | undefined => {
  switch (fault?.kind) {
    case "status":
      return Effect.succeed(statusResponse(exchange, fault))
    case "early_answer":
      return Effect.succeed(earlyAnswer(exchange, fault))
    case "silence":
      return Effect.never
    case "reset":
    case "flap":
      return reset(exchange)
    case "huge_head":
      return hugeHead(instance, exchange, fault.bytes ?? 1_048_576)
    case "endless_head":
      return endlessHead(exchange)
    default:
      return undefined
  }
}

/**
 * Sends what was written so far, then destroys the connection, or all of the instance. The request is interrupted by
 * that, as it is by a client's going, so this never comes back.
 */
export const breakOff = (instance: Instance, exchange: Exchange["Service"], all: boolean): Effect.Effect<never> =>
  Effect.suspend(() => {
    exchange.entry.close("failed", statusSent(exchange))
    const { socket } = exchange.incoming
    if (exchange.outgoing.headersSent) exchange.outgoing.flushHeaders()
    if (all) instance.log.failAll()
    socket.end(() => {
      if (all) instance.wire.destroyAll()
      else socket.destroy()
    })
    return Effect.never
  })

const statusSent = ({ outgoing }: Exchange["Service"]): number | undefined =>
  outgoing.headersSent ? outgoing.statusCode : undefined

const statusResponse = (exchange: Exchange["Service"], fault: FaultOf<"status">) =>
  refusalResponse(
    new Refusal({
      status: fault.status,
      code: fault.code ?? codeOf(fault.status),
      message: fault.message ?? `simulated status ${fault.status}`,
      ...(fault.retryAfter !== undefined && { retryAfter: String(fault.retryAfter) })
    }),
    exchange.path
  )

/** The body was not read; the server leaves it, and closes. */
const earlyAnswer = (exchange: Exchange["Service"], fault: FaultOf<"early_answer">) => {
  const status = fault.status ?? 400
  const refusal = new Refusal({ status, code: codeOf(status), message: "simulated early answer" })
  return HttpServerResponse.setHeader(refusalResponse(refusal, exchange.path), "connection", "close")
}

/** With RST where the socket can; TLS ends without its close_notify. */
const reset = (exchange: Exchange["Service"]): Effect.Effect<never> =>
  Effect.suspend(() => {
    exchange.entry.close("failed", undefined)
    const { socket } = exchange.incoming
    if (socket instanceof TLSSocket) socket.destroy()
    else socket.resetAndDestroy()
    return Effect.never
  })

const paddingLine = (index: number, bytes: number): string =>
  `x-padding-${index}: ${"p".repeat(Math.max(1, bytes - 20))}\r\n`

const lineBytes = 1024

const hugeHead = Effect.fnUntraced(function* (instance: Instance, exchange: Exchange["Service"], bytes: number) {
  const { socket } = exchange.incoming
  const lines = Math.ceil(bytes / lineBytes)
  const padding = Array.from({ length: lines }, (_, index) => paddingLine(index, lineBytes)).join("")
  const body = '{"object":"huge_head"}'
  const head = `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n`
  yield* send(socket, `${head}${padding}\r\n${body}`)
  return yield* breakOff(instance, exchange, false)
})

const endlessHead = Effect.fnUntraced(function* (exchange: Exchange["Service"]) {
  const { socket } = exchange.incoming
  yield* send(socket, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
  const chunk = Array.from({ length: 16 }, (_, index) => paddingLine(index, lineBytes)).join("")
  return yield* Effect.forever(send(socket, chunk))
})

/** Writes past HTTP; done when the socket has taken it, never when the connection is gone. */
const send = (socket: Socket, text: string): Effect.Effect<void> =>
  Effect.callback((resume) => {
    socket.write(text, (error) => {
      if (error === undefined || error === null) resume(Effect.void)
    })
  })
