/** Clients that keep nothing of what they read but its length and its hash. */
import { createHash } from "node:crypto"
import * as http from "node:http"
import * as http2 from "node:http2"
import type { Readable } from "node:stream"
import { Effect, type Scope } from "effect"
import { ca } from "../../transport/Certificates.ts"

/** `slow`: it takes nothing at first, then a little at a time. A promise: it takes nothing until that is settled. */
export type Pace = "quick" | "slow" | Promise<void>

export interface Received {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly bytes: number
  readonly hash: string
  /** Whether it ended as a whole answer does. */
  readonly whole: boolean
}

export interface Client {
  /** POST where there is a text, else GET. */
  readonly ask: (at: string, text: string | undefined, pace: Pace) => Effect.Effect<Received>
}

const standStill = 200
const between = 2
const aLittle = 256 * 1024

const take = (
  body: Readable,
  pace: Pace,
  head: Pick<Received, "status" | "headers">,
  resume: (received: Effect.Effect<Received>) => void
) => {
  const hash = createHash("sha1")
  let bytes = 0
  let taken = 0
  let whole = false
  const rest = (millis: number) => {
    body.pause()
    setTimeout(() => body.resume(), millis)
  }
  body.on("data", (piece: Buffer) => {
    hash.update(piece)
    bytes += piece.length
    taken += piece.length
    if (pace !== "slow" || taken < aLittle) return
    taken = 0
    rest(between)
  })
  body.on("end", () => {
    whole = true
  })
  body.on("error", () => {})
  body.on("close", () => resume(Effect.sync(() => ({ ...head, bytes, hash: hash.digest("hex"), whole }))))
  if (pace === "slow") rest(standStill)
  if (typeof pace === "string") return
  body.pause()
  void pace.then(() => body.resume())
}

const type = { "content-type": "application/json" }

/** HTTP/1.1, with connections that are kept. */
export const overHttp1 = (origin: string): Effect.Effect<Client, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => new http.Agent({ keepAlive: true })),
      (agent) => Effect.sync(() => agent.destroy())
    ),
    (agent) => ({
      ask: (at, text, pace) =>
        Effect.callback<Received>((resume) => {
          const method = text === undefined ? "GET" : "POST"
          const request = http.request(`${origin}${at}`, { agent, method, headers: type }, (response) => {
            const { headers, statusCode: status = 0 } = response
            take(response, pace, { status, headers }, (received) =>
              resume(Effect.map(received, (all) => ({ ...all, whole: all.whole && response.complete })))
            )
          })
          request.on("error", () => resume(Effect.succeed(nothing)))
          request.end(text)
          return Effect.sync(() => request.destroy())
        })
    })
  )

/** HTTP/2, everything on one connection. */
export const overHttp2 = (origin: string): Effect.Effect<Client, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => http2.connect(origin, { ca })),
      (session) => Effect.sync(() => session.destroy())
    ),
    (session) => {
      session.on("error", () => {})
      return {
        ask: (at, text, pace) =>
          Effect.callback<Received>((resume) => {
            const method = text === undefined ? "GET" : "POST"
            const stream = session.request({ ":method": method, ":path": at, ...type })
            stream.on("error", () => {})
            const withoutHead = () => resume(Effect.succeed(nothing))
            stream.on("close", withoutHead)
            stream.on("response", (headers) => {
              stream.off("close", withoutHead)
              take(stream, pace, { status: headers[":status"] ?? 0, headers }, (received) =>
                resume(
                  Effect.map(received, (all) => ({
                    ...all,
                    whole: all.whole && stream.rstCode === http2.constants.NGHTTP2_NO_ERROR
                  }))
                )
              )
            })
            stream.end(text)
            return Effect.sync(() => stream.destroy())
          })
      }
    }
  )

const nothing: Received = { status: 0, headers: {}, bytes: 0, hash: "", whole: false }
