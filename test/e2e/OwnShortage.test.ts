/** A gateway that has fewer file descriptors than there are clients, as a service with a low limit has. */
import { createServer } from "node:http"
import { connect, type Socket } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { listen } from "../transport/Origin.ts"
import { ask, chat } from "./Ask.ts"
import { eventually, type Gateway, serve } from "./Program.ts"

const completion = JSON.stringify({ object: "chat.completion", choices: [{ index: 0, finish_reason: "stop" }] })

/** Takes a moment for each answer, so that connections are held, and keeps none for long. Tells its port. */
const engine = Effect.suspend(() => {
  const server = createServer({ keepAliveTimeout: 1 }, (request, response) => {
    request.resume().once("end", () => {
      response.setHeader("content-type", "application/json")
      if (request.method === "GET") response.end('{"object":"list","data":[{"id":"sim-model"}]}')
      else setTimeout(() => response.end(completion), 100)
    })
  })
  return listen(server, () => server.closeAllConnections())
})

interface Client {
  readonly socket: Socket
  text: string
}

const clientOf = (url: string): Client => {
  const socket = connect(Number(new URL(url).port), "127.0.0.1")
  const client: Client = { socket, text: "" }
  socket.on("data", (data: Buffer) => {
    client.text += data.toString("latin1")
  })
  socket.on("error", () => {})
  return client
}

/** More clients than there are descriptors: they connect, and wait to be told when to ask. */
const connections = (gateway: Gateway, size: number) =>
  Effect.acquireRelease(
    Effect.sync(() => Array.from({ length: size }, () => clientOf(gateway.url))),
    (clients) =>
      Effect.sync(() => {
        for (const { socket } of clients) socket.destroy()
      })
  )

const body = JSON.stringify({ model: "sim-model", messages: [] })
const question =
  "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n" +
  `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`

const shortages = ({ stderr }: Gateway) => stderr.filter((line) => line.includes("own shortage"))

describe("a gateway whose file descriptors run out", () => {
  for (const host of ["127.0.0.1", "localhost"]) {
    it.live(`blames no backend, tells the setting that helps, and serves on: backend at ${host}`, () =>
      Effect.gen(function* () {
        const port = yield* engine
        const gateway = yield* serve(
          {
            backends: [
              { name: "engine", url: `http://${host}:${port}`, models: ["sim-model"], health: { interval: "200ms" } }
            ],
            pools: [{ name: "default", backends: ["engine"], retry: { attempts: 0 } }]
          },
          { descriptors: 90 }
        )
        assert.strictEqual((yield* chat(gateway.url)).status, 200)
        const clients = yield* connections(gateway, 150)
        yield* eventually(
          Effect.sync(() => {
            if (shortages(gateway).length > 0) return true
            // A descriptor that the gateway gives back, such as that of a connection to the engine, is used again.
            clients.push(clientOf(gateway.url))
            return undefined
          }),
          () => gateway.stderr.join("\n")
        )
        for (const { socket } of clients) if (!socket.destroyed) socket.write(question)
        yield* eventually(
          Effect.sync(() => (clients.every(({ socket }) => socket.closed) ? true : undefined)),
          () => "every client is answered or let go"
        )
        const answers = clients.map(({ text }) => text).filter((text) => text !== "")
        assert.isAbove(answers.length, 10)
        for (const text of answers) {
          assert.match(text, /^HTTP\/1\.1 (200|503) /)
          if (text.startsWith("HTTP/1.1 503")) {
            assert.include(text, '"queue_full"')
            assert.match(text, /\r\nretry-after: 1\r\n/i)
          }
        }
        for (let i = 0; i < 5; i++) assert.strictEqual((yield* chat(gateway.url)).status, 200)
        const { text } = yield* ask(`${gateway.url}/stats`)
        assert.include(text, '"circuit":"closed"')
        assert.include(text, '"health":"healthy"')
        const told = shortages(gateway)
        assert.isAtMost(told.length, 2, "one line for clients, one for backends")
        for (const line of told) assert.match(line, /ulimit -n.*LimitNOFILE/)
      })
    )
  }
})

describe("a gateway whose listeners may have more connections than it has descriptors", () => {
  const warnings = ({ stderr }: Gateway) => stderr.filter((line) => line.includes("this process may have"))

  it.live("says so at its start, with both numbers and the settings, and where there are enough it says nothing", () =>
    Effect.gen(function* () {
      const low = yield* serve({}, { descriptors: 300 })
      yield* eventually(
        Effect.sync(() => warnings(low)[0]),
        () => low.stderr.join("\n")
      )
      assert.match(warnings(low).join("\n"), /^.*"level":"warn".* 16384 .*maxConnections.* 300 .*ulimit -n.*$/)
      const enough = yield* serve({ listeners: [{ port: 0, maxConnections: 200 }] }, { descriptors: 300 })
      assert.strictEqual((yield* ask(`${enough.url}/healthz`)).status, 200)
      yield* enough.signal("SIGTERM")
      assert.strictEqual(yield* enough.ended, 0)
      assert.deepStrictEqual(warnings(enough), [])
    })
  )
})
