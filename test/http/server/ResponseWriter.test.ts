import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http"
import { connect } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber } from "effect"
import { deliver } from "../../../src/http/server/ResponseWriter.ts"
import type { ProxyResponse, StreamBody } from "../../../src/proxy/Proxy.ts"
import { UpstreamFailed } from "../../../src/transport/UpstreamTransport.ts"
import { bodyOf } from "../Bodies.ts"

/** A server on a port of its own, for as long as the scope is open. */
const serving = (listener: RequestListener) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly port: number; readonly close: () => void }>((resume) => {
      const server = createServer(listener)
      server.listen(0, "127.0.0.1", () => {
        const close = () => {
          server.closeAllConnections()
          server.close()
        }
        const address = server.address()
        resume(Effect.succeed({ port: typeof address === "object" && address !== null ? address.port : 0, close }))
      })
    }),
    ({ close }) => Effect.sync(close)
  )

const incomingOf = (message: IncomingMessage, response: ServerResponse) => ({ message, response })

const answering = (answer: Partial<ProxyResponse>): ProxyResponse => ({
  status: 200,
  headers: { "content-type": "text/plain" },
  cookies: [],
  body: Buffer.from("whole"),
  contentLength: undefined,
  ...answer
})

/** Answers every request so, once it was read; `delivered` is what came of the first one. */
const delivering = Effect.fnUntraced(function* (answer: Partial<ProxyResponse>, isReadFirst = true) {
  const delivered = yield* Deferred.make<Exit.Exit<unknown>>()
  const { port } = yield* serving((message, response) => {
    const begin = () => {
      const fiber = Effect.runFork(deliver(incomingOf(message, response), answering(answer)))
      fiber.addObserver((exit) => Deferred.doneUnsafe(delivered, Effect.succeed(exit)))
    }
    if (isReadFirst) message.resume().on("end", begin)
    else begin()
  })
  return { port, url: `http://127.0.0.1:${port}/`, delivered }
})

const get = (url: string, init: RequestInit = {}) =>
  Effect.promise(async () => {
    const response = await fetch(url, init)
    return { status: response.status, headers: response.headers, text: await response.text() }
  })

const relayed = (...pieces: ReadonlyArray<string>): StreamBody =>
  bodyOf((sink) =>
    Effect.sync(() => {
      for (const piece of pieces) sink.write(Buffer.from(piece))
    })
  )

describe("an answer", () => {
  it.live("goes out with its status, its headers, each of its cookies, and its length", () =>
    Effect.gen(function* () {
      const { url } = yield* delivering({ status: 201, cookies: ["a=1; Path=/", "b=2"] })
      const { headers, status, text } = yield* get(url)
      assert.deepStrictEqual([status, text], [201, "whole"])
      assert.deepStrictEqual(headers.getSetCookie(), ["a=1; Path=/", "b=2"])
      assert.strictEqual(headers.get("content-length"), "5")
      assert.strictEqual(headers.get("content-type"), "text/plain")
    })
  )

  it.live("is byte for byte what it was, small or large", () =>
    Effect.gen(function* () {
      for (const size of [0, 1, 16_384, 16_385, 3_000_000]) {
        const body = Buffer.from(Array.from({ length: size }, (_, at) => (at * 7) % 256))
        const { url } = yield* delivering({ body })
        const got = yield* Effect.promise(async () => Buffer.from(await (await fetch(url)).arrayBuffer()))
        assert.isTrue(got.equals(body), `${size} bytes`)
      }
    })
  )

  for (const status of [204, 304]) {
    it.live(`an answer with the status ${status} has no length`, () =>
      Effect.gen(function* () {
        const { url } = yield* delivering({ status, body: new Uint8Array(0) })
        const got = yield* get(url)
        assert.deepStrictEqual([got.status, got.headers.get("content-length"), got.text], [status, null, ""])
      })
    )
  }

  it.live("an answer that comes piece by piece has the length that was announced, or none", () =>
    Effect.gen(function* () {
      const known = yield* delivering({ body: relayed("ab", "c"), contentLength: 3 })
      const unknown = yield* delivering({ body: relayed("ab", "c") })
      for (const [{ url }, length] of [
        [known, "3"],
        [unknown, null]
      ] as const) {
        const { headers, text } = yield* get(url)
        assert.deepStrictEqual([text, headers.get("content-length")], ["abc", length])
      }
    })
  )

  it.live("an answer before the end of the request closes the connection behind it", () =>
    Effect.gen(function* () {
      const { port } = yield* delivering({ body: Buffer.from("too large") }, false)
      const answer = yield* Effect.callback<string>((resume) => {
        const socket = connect(port, "127.0.0.1", () => {
          socket.write("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nonly this")
        })
        let text = ""
        socket.on("data", (piece) => {
          text += piece.toString("latin1")
        })
        socket.on("close", () => resume(Effect.succeed(text)))
        return Effect.sync(() => socket.destroy())
      })
      assert.match(answer, /^HTTP\/1\.1 200 .*\r\nconnection: close\r\n.*too large$/is)
    })
  )
})

describe("a body that breaks off", () => {
  it.live("breaks the connection, so that no client takes it for a whole one", () =>
    Effect.gen(function* () {
      const broken = bodyOf((sink) =>
        Effect.suspend(() => {
          sink.write(Buffer.from("half"))
          return new UpstreamFailed({ kind: "reset", detail: "x" })
        })
      )
      const { delivered, url } = yield* delivering({ body: broken })
      const exit = yield* Effect.exit(Effect.tryPromise(async () => (await fetch(url)).text()))
      assert.isTrue(Exit.isFailure(exit))
      assert.isTrue(Exit.isSuccess(yield* Deferred.await(delivered)), "the gateway knows what became of it already")
    })
  )
})

describe("a client that is slow", () => {
  it.live("is asked to be ready before more is given, and waited for at the end", () =>
    Effect.gen(function* () {
      const seen = { full: 0, ready: 0 }
      const gate = yield* Deferred.make<void>()
      const flood = bodyOf((sink) =>
        Effect.gen(function* () {
          const piece = Buffer.alloc(1024 * 1024, "x")
          for (let count = 0; count < 32; count++) {
            if (sink.write(piece)) continue
            if (seen.full++ === 0) yield* Deferred.succeed(gate, undefined)
            yield* Effect.callback<void>((resume) => sink.onDrain(() => resume(Effect.void)))
            seen.ready++
          }
        })
      )
      const { delivered, port } = yield* delivering({ body: flood })
      const socket = yield* Effect.acquireRelease(
        Effect.sync(() => connect(port, "127.0.0.1")),
        (open) => Effect.sync(() => open.destroy())
      )
      let received = 0
      socket.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n")
      socket.pause()
      yield* Deferred.await(gate)
      assert.isFalse(yield* Deferred.isDone(delivered))
      socket.on("data", (piece) => {
        received += piece.length
      })
      socket.resume()
      const exit = yield* Deferred.await(delivered)
      assert.isTrue(Exit.isSuccess(exit))
      assert.isAbove(seen.ready, 0)
      yield* Effect.sync(() => received > 32 * 1024 * 1024).pipe(Effect.repeat({ until: (is) => is }))
    })
  )

  it.live("a client that leaves is waited for no longer", () =>
    Effect.gen(function* () {
      const { delivered, port } = yield* delivering({ body: Buffer.alloc(64 * 1024 * 1024, "x") })
      const socket = connect(port, "127.0.0.1")
      socket.pause()
      socket.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n")
      const wait = yield* Effect.forkChild(Deferred.await(delivered))
      yield* Effect.callback<void>((resume) => void socket.once("readable", () => resume(Effect.void)))
      assert.isUndefined(wait.pollUnsafe())
      socket.destroy()
      assert.isTrue(Exit.isSuccess(yield* Fiber.join(wait)))
    })
  )
})
