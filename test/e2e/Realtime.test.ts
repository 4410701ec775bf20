/** OpenAI's own WebSocket clients through the built program, against mocks that were not written in this project. */
import { createServer } from "node:http"
import { createServer as createTlsServer } from "node:https"
import * as path from "node:path"
import { LLMock } from "@copilotkit/aimock"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import OpenAI from "openai"
import { OpenAIRealtimeWS } from "openai/realtime/ws"
import { ResponsesWS } from "openai/resources/responses/ws"
import { WebSocket, WebSocketServer } from "ws"
import { folderWith } from "../Folder.ts"
import { ca, server } from "../transport/Certificates.ts"
import { listen } from "../transport/Origin.ts"
import { serve } from "./Program.ts"

const aimock = Effect.acquireRelease(
  Effect.promise(async () => {
    const made = new LLMock({ port: 0 })
    await made.start()
    return made
  }),
  (made) => Effect.promise(() => made.stop())
)

const key = { authorization: "Bearer sk-client" }

/** The SDK speaks to `wss:` alone. */
const setUp = Effect.fnUntraced(function* (config: object) {
  const at = yield* folderWith({ "cert.pem": server.cert, "key.pem": server.key })
  const gateway = yield* serve({
    listeners: [{ port: 0, tls: { cert: path.join(at, "cert.pem"), key: path.join(at, "key.pem") } }],
    keys: [{ name: "k", key: "sk-client", models: ["voice"] }],
    ...config
  })
  const { port } = new URL(gateway.url)
  const client = new OpenAI({ apiKey: "sk-client", baseURL: `https://localhost:${port}/v1` })
  return { client, url: `wss://localhost:${port}` }
})

/** An engine of the `ws` package, which writes down what it is asked and sends back what it gets. */
const engine = Effect.fnUntraced(function* (options: { readonly tls?: boolean } = {}) {
  const asked: Array<Asked> = []
  const http = options.tls === true ? createTlsServer(server) : createServer((_, response) => response.end("{}"))
  const sockets = new WebSocketServer({
    server: http,
    handleProtocols: (offered) => ["realtime", "mine"].find((one) => offered.has(one)) ?? false
  })
  sockets.on("connection", (socket, { headers, url = "" }) => {
    asked.push({ headers, url })
    socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }))
  })
  const port = yield* listen(http, () => {
    for (const socket of sockets.clients) socket.terminate()
    http.closeAllConnections()
  })
  return { url: `${options.tls === true ? "https" : "http"}://127.0.0.1:${port}`, asked }
})

interface Asked {
  readonly headers: Readonly<Record<string, unknown>>
  readonly url: string
}

/** Opened, or the status with which that was refused. */
const opened = (url: string, protocols: ReadonlyArray<string> = [], headers: Record<string, string> = {}) =>
  Effect.acquireRelease(
    Effect.callback<{ socket: WebSocket; refused: number | undefined }>((resume) => {
      const socket = new WebSocket(url, [...protocols], { ca, headers })
      socket.on("error", () => {})
      socket.once("open", () => resume(Effect.succeed({ socket, refused: undefined })))
      socket.once("unexpected-response", (_request, response) => {
        response.resume()
        resume(Effect.succeed({ socket, refused: response.statusCode }))
      })
    }),
    ({ socket }) => Effect.sync(() => socket.terminate())
  )

const closed = (socket: WebSocket) =>
  Effect.callback<readonly [code: number, reason: string]>((resume) => {
    socket.once("close", (code, reason) => resume(Effect.succeed([code, reason.toString()])))
  })

const nextMessage = (socket: WebSocket) =>
  Effect.callback<string>((resume) => {
    socket.once("message", (data) => resume(Effect.succeed(Buffer.isBuffer(data) ? data.toString() : "")))
  })

describe("OpenAI's realtime client", () => {
  it.live("opens a session by an alias, gets its answer event by event, and closes in good order", () =>
    Effect.gen(function* () {
      const upstream = yield* aimock
      upstream.onMessage("hello", { content: "Hello from somewhere else" })
      const { client } = yield* setUp({
        backends: [{ name: "mock", url: upstream.url, models: ["gpt-realtime"] }],
        models: [{ match: "voice", upstreamModel: "gpt-realtime" }]
      })
      const realtime = new OpenAIRealtimeWS({ model: "voice", options: { ca } }, client)
      const failures: Array<string> = []
      realtime.on("error", ({ message }) => failures.push(message))
      const session = yield* Effect.callback<string | undefined>((resume) => {
        realtime.once("session.created", ({ session }) =>
          resume(Effect.succeed("model" in session ? session.model : undefined))
        )
      })
      assert.strictEqual(session, "gpt-realtime")
      const answered = Effect.callback<string>((resume) => {
        let text = ""
        realtime.on("response.output_text.delta", ({ delta }) => {
          text += delta
        })
        realtime.once("response.done", () => resume(Effect.succeed(text)))
      })
      realtime.send({
        type: "conversation.item.create",
        item: { type: "message", role: "user", content: [{ type: "input_text", text: "hello" }] }
      })
      realtime.send({ type: "response.create" })
      assert.strictEqual(yield* answered, "Hello from somewhere else")
      const ended = closed(realtime.socket)
      realtime.close({ code: 1000, reason: "thanks" })
      assert.strictEqual((yield* ended)[0], 1000)
      assert.deepStrictEqual(failures, [])
    })
  )

  it.live("opens the Responses API, whose frames name the model, by path", () =>
    Effect.gen(function* () {
      const upstream = yield* aimock
      upstream.onMessage("hello", { content: "Hello by WebSocket" })
      const { client } = yield* setUp({
        backends: [{ name: "mock", url: upstream.url }],
        keys: [{ name: "k", key: "sk-client" }]
      })
      const responses = new ResponsesWS(client, { ca })
      const done = Effect.callback<string>((resume) => {
        let text = ""
        responses.on("response.output_text.delta", ({ delta }) => {
          text += delta
        })
        responses.on("error", ({ message }) => resume(Effect.succeed(message)))
        responses.on("response.completed", () => resume(Effect.succeed(text)))
      })
      responses.send({ type: "response.create", model: "gpt-4o", input: "hello" })
      assert.strictEqual(yield* done, "Hello by WebSocket")
      responses.close()
    })
  )
})

describe("a WebSocket of a browser's page", () => {
  it.live("may name its key among the subprotocols; the engine sees all but the key, and its choice comes back", () =>
    Effect.gen(function* () {
      const upstream = yield* engine()
      const { url } = yield* setUp({ backends: [{ name: "a", url: upstream.url, models: ["voice"] }] })
      const at = `${url}/v1/realtime?model=voice`
      const { socket } = yield* opened(at, ["realtime", "openai-insecure-api-key.sk-client", "openai-beta.realtime-v1"])
      assert.strictEqual(socket.protocol, "realtime")
      socket.send("hello")
      assert.strictEqual(yield* nextMessage(socket), "hello")
      const headers = upstream.asked[0]?.headers ?? {}
      assert.strictEqual(headers["sec-websocket-protocol"], "realtime, openai-beta.realtime-v1")
      assert.notInclude(JSON.stringify(headers), "sk-client")
      const wrong = yield* opened(at, ["realtime", "openai-insecure-api-key.sk-other"])
      assert.strictEqual(wrong.refused, 401)
      const none = yield* opened(at, ["realtime"])
      assert.strictEqual(none.refused, 401)
      // A header of its own counts before, as it is what a program sends.
      const both = yield* opened(at, ["realtime", "openai-insecure-api-key.sk-client"], {
        authorization: "Bearer sk-x"
      })
      assert.strictEqual(both.refused, 401)
      assert.strictEqual(upstream.asked.length, 1)
    })
  )

  it.live("a WebSocket from an origin that is not allowed is refused", () =>
    Effect.gen(function* () {
      const upstream = yield* engine()
      const { url } = yield* setUp({
        backends: [{ name: "a", url: upstream.url, models: ["voice"] }]
      })
      const at = `${url}/v1/realtime?model=voice`
      assert.strictEqual((yield* opened(at, [], { origin: "https://evil.example" })).refused, 403)
      assert.strictEqual((yield* opened(at, [], { ...key, origin: url.replace("wss:", "https:") })).refused, undefined)
    })
  )
})

describe("a WebSocket", () => {
  it.live("goes to a backend that has its model, over TLS too, and a limited key names one that it may use", () =>
    Effect.gen(function* () {
      const secure = yield* engine({ tls: true })
      const other = yield* engine()
      const at = yield* folderWith({ "ca.pem": ca })
      const { url } = yield* setUp({
        backends: [
          { name: "a", url: other.url, models: ["other"] },
          { name: "b", url: secure.url, models: ["upstream voice"], tls: { ca: path.join(at, "ca.pem") } }
        ],
        models: [{ match: "voice", upstreamModel: "upstream voice" }]
      })
      for (const target of [
        "/v1/realtime?model=voice",
        "/openai/realtime?a=1&deployment=voice",
        "/voice/live?model=voice"
      ]) {
        assert.strictEqual((yield* opened(url + target, [], key)).refused, undefined, target)
      }
      assert.deepStrictEqual(
        secure.asked.map((each) => each.url),
        [
          "/v1/realtime?model=upstream%20voice",
          "/openai/realtime?a=1&deployment=upstream%20voice",
          "/voice/live?model=upstream%20voice"
        ]
      )
      for (const [target, status] of [
        ["/v1/realtime?model=other", 403],
        ["/v1/realtime", 403],
        ["/v1/realtime?intent=transcription", 403],
        ["/openai/deployments/other/realtime?model=voice", 400],
        ["/v1/realtime?model=voice&model=other", 400]
      ] as const) {
        assert.strictEqual((yield* opened(url + target, [], key)).refused, status, target)
      }
      assert.deepStrictEqual(other.asked, [])
    })
  )
})
