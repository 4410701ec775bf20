/**
 * Small pieces are on their way at once. Where a sender waits for the acknowledgement of its last small piece (Nagle), and
 * a receiver keeps that back because it hopes for something to send with it (40 ms with Linux), each token comes late.
 *
 * A receiver does so on a connection on which there was much asking and answering; so there are many exchanges on one
 * connection here. Every piece is sent when the one before it has arrived, so that the waits add up: to four seconds and
 * more, where without any of them all is done in a fraction of one. What is promised lies between.
 */
import { Agent, type ClientRequest, createServer, type IncomingMessage, request, type ServerResponse } from "node:http"
import * as https from "node:https"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect } from "effect"
import { folderWith } from "../Folder.ts"
import { ca, server as pair } from "../transport/Certificates.ts"
import { listen } from "../transport/Origin.ts"
import { serve } from "./Program.ts"

const exchanges = 100
const pieces = 4
/** In milliseconds, for all of them. */
const tolerable = 2500

type Exchange = (asked: IncomingMessage, answer: ServerResponse) => void

/** An engine whose requests the running test answers. */
interface Engine {
  readonly url: string
  play: Exchange
}

const startEngine = Effect.gen(function* () {
  const server = createServer({ noDelay: true }, (asked, answer) => {
    if (asked.method === "POST") return engine.play(asked, answer)
    answer.setHeader("content-type", "application/json")
    answer.end('{"object":"list","data":[{"id":"m","object":"model"}]}')
  })
  const port = yield* listen(server, () => server.closeAllConnections())
  const engine: Engine = { url: `http://127.0.0.1:${port}`, play: () => {} }
  return engine
})

const scene = Effect.gen(function* () {
  const folder = yield* folderWith({ "cert.pem": pair.cert, "key.pem": pair.key })
  const backend = yield* startEngine
  const tls = { cert: path.join(folder, "cert.pem"), key: path.join(folder, "key.pem") }
  const gateway = yield* serve({
    listeners: [
      { name: "plain", port: 0 },
      { name: "secret", port: 0, tls }
    ],
    backends: [{ name: "engine", url: backend.url, models: ["m"] }]
  })
  return { backend, gateway }
})

/** How often something is asked, on one connection, and how. */
interface Line {
  readonly begin: (at: string, type: string) => ClientRequest
  readonly close: () => void
}

const lineTo = (origin: string): Line => {
  const secret = origin.startsWith("https:")
  const settings = { keepAlive: true, maxSockets: 1 }
  const agent = secret ? new https.Agent({ ...settings, ca }) : new Agent(settings)
  return {
    begin: (at, type) =>
      (secret ? https.request : request)(`${origin}${at}`, {
        agent,
        method: "POST",
        headers: { "content-type": type }
      }),
    close: () => agent.destroy()
  }
}

const event = 'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'

/** An answer of which each event is sent when the client has the one before it; how many arrived. */
const answerInPieces = (backend: Engine, line: Line) =>
  Effect.callback<number, Error>((resume) => {
    let sent = 0
    let come = ""
    let sendNext = () => {}
    backend.play = (asked, answer) => {
      asked.resume()
      answer.writeHead(200, { "content-type": "text/event-stream" })
      sendNext = () => {
        if (sent < pieces) answer.write(event)
        else answer.end("data: [DONE]\n\n")
        sent++
      }
      sendNext()
    }
    const asking = line.begin("/v1/chat/completions", "application/json")
    asking.on("error", (error) => resume(Effect.fail(error)))
    asking.on("response", (answer) => {
      answer.on("data", (chunk: Buffer) => {
        come += chunk.toString()
        if (come.length === sent * event.length) sendNext()
      })
      answer.on("end", () => resume(Effect.succeed(come.split(event).length - 1)))
    })
    asking.end('{"model":"m","stream":true,"messages":[]}')
  })

/** An upload of which each piece is sent when the engine has the one before it; how many arrived. */
const uploadInPieces = (backend: Engine, line: Line) =>
  Effect.callback<number, Error>((resume) => {
    let sent = 0
    let come = 0
    const asking = line.begin("/v1/files", "audio/wav")
    const sendNext = () => {
      if (sent < pieces) asking.write("a")
      else asking.end()
      sent++
    }
    backend.play = (asked, answer) => {
      asked.on("data", (chunk: Buffer) => {
        come += chunk.length
        if (come === sent) sendNext()
      })
      asked.on("end", () => {
        answer.setHeader("content-type", "application/json")
        answer.end("{}")
      })
    }
    asking.on("error", (error) => resume(Effect.fail(error)))
    asking.on("response", (answer) => answer.resume().on("end", () => resume(Effect.succeed(come))))
    sendNext()
  })

/** All the pieces come, on a connection like this, before waits for acknowledgements would let them. */
const insistOnPromptness = (origin: string, exchange: (line: Line) => Effect.Effect<number, Error>) =>
  Effect.gen(function* () {
    const line = yield* Effect.acquireRelease(
      Effect.sync(() => lineTo(origin)),
      ({ close }) => Effect.sync(close)
    )
    const start = yield* Clock.currentTimeMillis
    for (let n = 0; n < exchanges; n++) assert.strictEqual(yield* exchange(line), pieces, origin)
    assert.isBelow((yield* Clock.currentTimeMillis) - start, tolerable, `ms, ${origin}`)
  })

describe("what comes in small pieces", () => {
  it.live("reaches the client without a wait for its acknowledgements, with TLS and without", () =>
    Effect.gen(function* () {
      const { backend, gateway } = yield* scene
      const origins = [gateway.urlOf("plain"), gateway.urlOf("secret").replace("http:", "https:")]
      for (const origin of origins) yield* insistOnPromptness(origin, (line) => answerInPieces(backend, line))
    })
  )

  it.live("reaches the backend so, too", () =>
    Effect.gen(function* () {
      const { backend, gateway } = yield* scene
      yield* insistOnPromptness(gateway.urlOf("plain"), (line) => uploadInPieces(backend, line))
    })
  )
})
