import { createServer as createTlsServer } from "node:tls"
import { gzipSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, type Scope, Stream } from "effect"
import { BackendAdapter } from "../../src/backend/BackendAdapter.ts"
import type { Chunks } from "../../src/domain/Bytes.ts"
import { MonotonicClock } from "../../src/domain/MonotonicClock.ts"
import { Registry } from "../../src/registry/Registry.ts"
import { layerUndici } from "../../src/transport/UndiciTransport.ts"
import { BodyEnd, RequestBodyFailed, UpstreamFailed, UpstreamTransport } from "../../src/transport/UpstreamTransport.ts"
import { published, type Received, verify } from "../backend/ApigGateway.ts"
import { backendOf, configOf, poolOf, putInForce } from "../registry/Fixtures.ts"
import { cert, key } from "../sim/Certificate.ts"
import { configFor, type Line, nextTurn, ok, onLine, readAll } from "./Line.ts"
import { eventually, listen, makeOrigin, steady } from "./Origin.ts"

const textOf = (read: Chunks | BodyEnd) => (read instanceof BodyEnd ? read : Buffer.concat(read).toString("latin1"))

describe("an exchange", () => {
  it.live("gives the head as soon as it is there, then each piece of the body as it comes", () =>
    onLine(({ origin, send }) =>
      Effect.gen(function* () {
        const sending = yield* Effect.forkChild(send())
        const peer = yield* origin.next
        yield* peer.head
        peer.send("HTTP/1.1 200 OK\r\nX-One: 1\r\nx-many: a\r\nX-Many: b\r\ntransfer-encoding: chunked\r\n\r\n")
        const response = yield* Fiber.join(sending)
        assert.strictEqual(response.status, 200)
        assert.deepInclude(response.headers, { "x-one": "1", "x-many": ["a", "b"] })
        for (const piece of ["first", "second"]) {
          peer.send(`${piece.length.toString(16)}\r\n${piece}\r\n`)
          assert.strictEqual(textOf(yield* response.read), piece)
        }
        peer.send("0\r\n\r\n")
        assert.deepStrictEqual(yield* response.read, new BodyEnd(undefined))
        assert.deepStrictEqual(yield* response.read, new BodyEnd(undefined))
      })
    )
  )

  it.live("sends the request as it was given, byte for byte and in order", () =>
    onLine(({ origin, send }) =>
      Effect.gen(function* () {
        const headers = ["X-CaSe", "Kept", "accept", "*/*", "x-case", "again", "x-latin", "\u00fc"]
        const sending = yield* Effect.forkChild(
          send({ method: "PATCH", path: "/a%2Fb//c/../d?x=1&x=%zz", headers, body: Buffer.from("hello") })
        )
        const peer = yield* origin.next
        const sent = yield* peer.until((received) => received.endsWith("hello"))
        const [head = "", body] = sent.split("\r\n\r\n")
        const [line, ...fields] = head.split("\r\n")
        assert.strictEqual(line, "PATCH /a%2Fb//c/../d?x=1&x=%zz HTTP/1.1")
        assert.deepStrictEqual(
          fields.filter((field) => !/^connection:/i.test(field)),
          [
            `host: 127.0.0.1:${origin.port}`,
            "X-CaSe: Kept",
            "accept: */*",
            "x-case: again",
            "x-latin: \u00fc",
            "content-length: 5"
          ]
        )
        assert.strictEqual(body, "hello")
        peer.send(ok(""))
        yield* Fiber.join(sending)
      })
    )
  )

  it.live("passes over heads that only announce another", () =>
    onLine(({ origin, send }) =>
      Effect.gen(function* () {
        const sending = yield* Effect.forkChild(send())
        const peer = yield* origin.next
        yield* peer.head
        peer.send(`HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n${ok("body")}`)
        const response = yield* Fiber.join(sending)
        assert.deepStrictEqual([response.status, response.headers["link"]], [200, undefined])
        assert.deepStrictEqual(yield* readAll(response), { text: "body", failure: undefined })
      })
    )
  )

  for (const [what, method, answer] of [
    ["to a HEAD", "HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 500\r\ncontent-encoding: gzip\r\n\r\n"],
    ["of 204", "GET", "HTTP/1.1 204 No Content\r\n\r\n"],
    ["of 304", "GET", "HTTP/1.1 304 Not Modified\r\netag: x\r\n\r\n"]
  ] as const) {
    it.live(`an exchange that is an answer ${what} has no body, and ends`, () =>
      onLine(({ origin, send }) =>
        Effect.gen(function* () {
          const sending = yield* Effect.forkChild(send({ method, readable: true }))
          const peer = yield* origin.next
          yield* peer.head
          peer.send(answer)
          assert.deepStrictEqual(yield* readAll(yield* Fiber.join(sending)), { text: "", failure: undefined })
        })
      )
    )
  }

  it.live("makes an answer readable that comes compressed, where that was asked for, and only there", () =>
    onLine(({ origin, send }) =>
      Effect.gen(function* () {
        const packed = gzipSync("hello")
        for (const [readable, expected] of [
          [true, "hello"],
          [false, packed.toString("latin1")]
        ] as const) {
          const sending = yield* Effect.forkChild(send({ readable }))
          const peer = yield* origin.next
          yield* peer.head
          peer.send(
            `HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: ${packed.length}\r\nconnection: close\r\n\r\n`
          )
          peer.send(packed)
          const response = yield* Fiber.join(sending)
          assert.strictEqual(response.headers["content-encoding"], readable ? undefined : "gzip")
          assert.deepStrictEqual(yield* readAll(response), { text: expected, failure: undefined })
        }
      })
    )
  )
})

describe("a signed request", () => {
  it.live("is on the wire what was signed: a gateway that verifies it lets it through", () =>
    onLine(
      ({ origin, registry }) =>
        Effect.gen(function* () {
          const adapters = yield* BackendAdapter
          const transport = yield* UpstreamTransport
          for (const [method, path, query, text] of [
            ["POST", "/v1/chat/completions", "", '{"messages":[{"role":"user","content":"你好 😀"}]}'],
            ["POST", "/v1/embeddings", "?b=2&a=%20x&a=1&c", "{}"],
            ["GET", "/v1/a%20b/%E4%BD%A0/c%2Fd/", "?q=%C3%BC&plus=a+b", undefined],
            ["DELETE", "/tokenize/!'()*;:@$,=", "", undefined]
          ] as const) {
            const body = text === undefined ? undefined : Buffer.from(text)
            const headers = [
              "Content-Type",
              "application/json",
              "authorization",
              "Bearer of-the-client",
              "x-stage",
              "TEST"
            ]
            const { members, config } = poolOf(registry.current(), "p")
            const outgoing = { method, path, query, headers, body, readable: true }
            const prepared = members.map((member) => adapters.prepare(member, config.client, outgoing))
            const sending = yield* Effect.forkChild(
              Effect.forEach(prepared, (request) => transport.send(request, () => {}))
            )
            const peer = yield* origin.next
            const sent = yield* peer.until(
              (received) =>
                received.includes("\r\n\r\n") && received.endsWith(Buffer.from(text ?? "").toString("latin1"))
            )
            const received = parse(sent)
            assert.isUndefined(verify(received, published, Date.now()))
            assert.strictEqual(received.target, path + query)
            assert.notInclude(sent, "of-the-client")
            peer.send(`HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`)
            yield* Effect.forEach(yield* Fiber.join(sending), readAll)
          }
        }).pipe(Effect.provide(BackendAdapter.layer)),
      { backend: { adapter: "huawei-apig", pathPrefix: "/v1", auth: { type: "apig", ...published } } }
    )
  )

  const parse = (sent: string): Received => {
    const at = sent.indexOf("\r\n\r\n")
    const [line = "", ...fields] = sent.slice(0, at).split("\r\n")
    const [method = "", target = ""] = line.split(" ")
    const headers = fields.flatMap((field) => [
      field.slice(0, field.indexOf(":")),
      field.slice(field.indexOf(":") + 1).trim()
    ])
    return { method, target, headers, body: Buffer.from(sent.slice(at + 4), "latin1") }
  }
})

describe("a connection", () => {
  it.live("is used again for the next request, and not shared by two at a time", () =>
    onLine(({ origin, send }) =>
      Effect.gen(function* () {
        const first = yield* Effect.forkChild(send({ path: "/1" }))
        const peer = yield* origin.next
        yield* peer.head
        peer.send(ok("one"))
        yield* readAll(yield* Fiber.join(first))
        yield* nextTurn
        const second = yield* Effect.forkChild(send({ path: "/2" }))
        yield* peer.until((received) => received.includes("GET /2"))
        const third = yield* Effect.forkChild(send({ path: "/3" }))
        const other = yield* origin.next
        yield* other.until((received) => received.includes("GET /3"))
        peer.send(ok("two"))
        other.send(ok("three"))
        assert.strictEqual((yield* readAll(yield* Fiber.join(second))).text, "two")
        assert.strictEqual((yield* readAll(yield* Fiber.join(third))).text, "three")
        assert.strictEqual(origin.accepted(), 2)
      })
    )
  )

  it.live("is not used again after an answer that was not read to its end", () =>
    onLine(({ origin, send }) =>
      Effect.gen(function* () {
        const first = yield* Effect.forkChild(send())
        const peer = yield* origin.next
        yield* peer.head
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome")
        const response = yield* Fiber.join(first)
        response.cancel()
        yield* peer.closed
        const second = yield* Effect.forkChild(send())
        const other = yield* origin.next
        yield* other.head
        other.send(ok("two"))
        assert.strictEqual((yield* readAll(yield* Fiber.join(second))).text, "two")
      })
    )
  )

  it.live("a connection that is not needed is closed after the client's keepAlive", () =>
    onLine(
      ({ origin, send }) =>
        Effect.gen(function* () {
          const sending = yield* Effect.forkChild(send())
          const peer = yield* origin.next
          yield* peer.head
          peer.send(ok("x"))
          yield* readAll(yield* Fiber.join(sending))
          yield* peer.closed
        }),
      { client: { keepAlive: "100ms" } }
    )
  )

  it.live("a connection to a backend that was removed still serves the requests that began before", () =>
    onLine(({ origin, registry, request, send }) =>
      Effect.gen(function* () {
        const early = request()
        yield* putInForce(
          registry,
          yield* configOf({ backends: [{ name: "b", url: origin.url }], pools: [{ name: "p", backends: ["b"] }] })
        )
        const { config } = backendOf(registry.current(), "b")
        for (const more of [
          { backend: config },
          { backend: early.backend, client: early.client },
          { backend: config }
        ]) {
          const base = { ...early, ...more }
          const sending = yield* Effect.forkChild(Effect.flatMap(send(base), readAll))
          const peer = yield* origin.next
          yield* peer.head
          peer.send(`HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok`)
          assert.deepStrictEqual(yield* Fiber.join(sending), { text: "ok", failure: undefined })
        }
      })
    )
  )

  const answered = Effect.fnUntraced(function* ({ origin, send }: Line) {
    const sending = yield* Effect.forkChild(Effect.flatMap(send(), readAll))
    const peer = yield* origin.next
    yield* peer.head
    peer.send(ok("ok"))
    yield* Fiber.join(sending)
    yield* nextTurn
    return peer
  })

  it.live("a connection to a removed or moved backend is closed: at once if idle, else after its answer", () =>
    onLine((line) =>
      Effect.gen(function* () {
        const { origin, registry, send } = line
        const idle = yield* answered(line)
        const first = yield* Effect.forkChild(Effect.flatMap(send(), readAll))
        yield* idle.until((received) => received.split("GET / ").length === 3)
        const second = yield* Effect.forkChild(Effect.flatMap(send(), readAll))
        const running = yield* origin.next
        yield* running.head
        running.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\non")
        idle.send(ok("ok"))
        yield* Fiber.join(first)
        yield* nextTurn
        yield* putInForce(registry, yield* configFor("http://127.0.0.1:9", {}))
        yield* idle.closed
        running.send("ce")
        assert.deepStrictEqual(yield* Fiber.join(second), { text: "once", failure: undefined })
        yield* running.closed
      })
    )
  )

  it.live("is kept by a change that is not about it, and closed by one that refuses its address from now on", () =>
    onLine((line) =>
      Effect.gen(function* () {
        const { origin, registry, send } = line
        const peer = yield* answered(line)
        yield* putInForce(registry, yield* configFor(origin.url, { backend: { weight: 7 } }))
        const sending = yield* Effect.forkChild(Effect.flatMap(send(), readAll))
        yield* peer.until((received) => received.split("GET / ").length === 3)
        peer.send(ok("ok"))
        yield* Fiber.join(sending)
        assert.strictEqual(origin.accepted(), 1)
        yield* putInForce(
          registry,
          yield* configFor(origin.url, { security: { denyNetworks: ["127.0.0.0/8", "::1"] } })
        )
        yield* peer.closed
        assert.strictEqual((yield* Effect.flip(send())).kind, "refused")
      })
    )
  )

  it.live("is closed with the gateway, whatever is under way", () =>
    Effect.gen(function* () {
      const origin = yield* makeOrigin
      const config = yield* configFor(origin.url, {})
      const peer = yield* Effect.scoped(
        Effect.gen(function* () {
          const context = yield* Layer.build(
            layerUndici.pipe(Layer.provideMerge(Layer.merge(Registry.layerMemory(config), MonotonicClock.layer)))
          )
          const sending = Effect.gen(function* () {
            const { backends, pools } = (yield* Registry).current()
            const [backend, pool] = [backends.get("a"), pools.get("p")]
            assert.isDefined(backend)
            assert.isDefined(pool)
            const transport = yield* UpstreamTransport
            return yield* transport.send(
              {
                backend: backend.config,
                client: pool.config.client,
                connectTimeout: 1000,
                method: "GET",
                path: "/",
                headers: [],
                body: undefined,
                readable: false
              },
              () => {}
            )
          })
          yield* Effect.forkScoped(Effect.provide(sending, context))
          const one = yield* origin.next
          yield* one.head
          return one
        })
      )
      yield* peer.closed
    })
  )
})

describe("back-pressure", () => {
  it.live("reaches the backend: it stops while nothing is read, and goes on when reading does", () =>
    onLine(({ origin, send }) =>
      Effect.gen(function* () {
        const sending = yield* Effect.forkChild(send())
        const peer = yield* origin.next
        yield* peer.head
        const piece = Buffer.alloc(64 * 1024, 120)
        const { socket } = peer
        let going = true
        const flood = () => {
          let room = going
          while (room) room = socket.write(piece)
        }
        socket.on("drain", flood)
        peer.send("HTTP/1.1 200 OK\r\n\r\n")
        flood()
        const response = yield* Fiber.join(sending)
        assert.notInstanceOf(yield* response.read, BodyEnd)
        const stopped = yield* steady(() => socket.bytesWritten)
        // What the kernel holds on both sides, and no more.
        assert.isBelow(stopped, 32 * 1024 * 1024)
        let read = 0
        while (read < stopped * 2) {
          const pieces = yield* response.read
          if (pieces instanceof BodyEnd) break
          for (const { length } of pieces) read += length
        }
        assert.isAtLeast(read, stopped * 2)
        assert.isAbove(socket.bytesWritten, stopped)
        going = false
        response.cancel()
        yield* peer.closed
      })
    )
  )
})

describe("a request that is given up", () => {
  it.live("closes the connection at the backend before there is a head", () =>
    onLine(({ origin, send }) =>
      Effect.gen(function* () {
        const sending = yield* Effect.forkChild(send())
        const peer = yield* origin.next
        yield* peer.head
        yield* Fiber.interrupt(sending)
        yield* peer.closed
      })
    )
  )

  it.live("closes it in the middle of the body", () =>
    onLine(({ origin, send }) =>
      Effect.gen(function* () {
        const sending = yield* Effect.forkChild(send())
        const peer = yield* origin.next
        yield* peer.head
        peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
        const response = yield* Fiber.join(sending)
        yield* response.read
        response.cancel()
        yield* peer.closed
        assert.deepStrictEqual(yield* response.read, new BodyEnd(undefined))
      })
    )
  )

  it.live("a request that is given up before the connection is there sends nothing", () =>
    onLine(({ origin, send }) =>
      Effect.gen(function* () {
        const sending = yield* Effect.forkChild(send({ path: "/given-up" }), { startImmediately: true })
        yield* Fiber.interrupt(sending)
        const next = yield* Effect.forkChild(send({ path: "/next" }))
        let peer = yield* origin.next
        if (!(yield* Effect.race(Effect.as(peer.head, true), Effect.as(peer.closed, false)))) peer = yield* origin.next
        assert.include(yield* peer.head, "GET /next ")
        assert.notInclude(peer.received(), "given-up")
        peer.send(ok("x"))
        yield* Fiber.join(next)
      })
    )
  )

  it.live("a request that is given up in time says why, and the wait for the head is told that", () =>
    onLine(({ origin, send }) =>
      Effect.gen(function* () {
        let abort: (failure: UpstreamFailed) => void = () => {}
        const sending = yield* Effect.forkChild(
          Effect.exit(
            send({}, (given) => {
              abort = given
            })
          ),
          { startImmediately: true }
        )
        const peer = yield* origin.next
        yield* peer.head
        const failure = new UpstreamFailed({ kind: "timeout", detail: "first_byte" })
        abort(failure)
        assert.deepStrictEqual(yield* Fiber.join(sending), Exit.fail(failure))
        yield* peer.closed
      })
    )
  )

  it.live("a request that is given up in time wakes the wait for more of the body", () =>
    onLine(({ origin, send }) =>
      Effect.gen(function* () {
        let abort: (failure: UpstreamFailed) => void = () => {}
        const sending = yield* Effect.forkChild(
          send({}, (given) => {
            abort = given
          })
        )
        const peer = yield* origin.next
        yield* peer.head
        peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
        const response = yield* Fiber.join(sending)
        assert.strictEqual(textOf(yield* response.read), "hello")
        const reading = yield* Effect.forkChild(response.read, { startImmediately: true })
        const failure = new UpstreamFailed({ kind: "timeout", detail: "idle" })
        abort(failure)
        assert.deepStrictEqual(yield* Fiber.join(reading), new BodyEnd(failure))
        yield* peer.closed
      })
    )
  )
})

describe("what goes wrong", () => {
  it.live("is a failed connect where nothing listens", () =>
    onLine(({ registry, send }) =>
      Effect.gen(function* () {
        const gone = yield* Effect.scoped(makeOrigin)
        yield* putInForce(registry, yield* configFor(gone.url, {}))
        const failed = yield* Effect.flip(send())
        assert.deepInclude(failed, { kind: "connect", detail: "ECONNREFUSED" })
      })
    )
  )

  it.live("is a reset where the backend closes or breaks the connection before its head", () =>
    onLine(({ origin, send }) =>
      Effect.gen(function* () {
        for (const how of ["end", "reset"] as const) {
          const sending = yield* Effect.forkChild(Effect.flip(send()))
          const peer = yield* origin.next
          yield* peer.head
          peer[how]()
          assert.strictEqual((yield* Fiber.join(sending)).kind, "reset")
        }
      })
    )
  )

  for (const [what, sent, how] of [
    ["fewer bytes than announced", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello", "end"],
    ["a last chunk that never comes", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", "end"],
    ["a connection that breaks", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", "reset"]
  ] as const) {
    it.live(`a fault in the body never looks like its end: ${what}`, () =>
      onLine(({ origin, send }) =>
        Effect.gen(function* () {
          const sending = yield* Effect.forkChild(send())
          const peer = yield* origin.next
          yield* peer.head
          peer.send(sent)
          const response = yield* Fiber.join(sending)
          assert.strictEqual(textOf(yield* response.read), "hello")
          peer[how]()
          const { failure } = yield* readAll(response)
          assert.strictEqual(failure?.kind, "reset")
        })
      )
    )
  }

  it.live("is a body that ends with its connection where nothing says how long it is: that is an end", () =>
    onLine(({ origin, send }) =>
      Effect.gen(function* () {
        const sending = yield* Effect.forkChild(send())
        const peer = yield* origin.next
        yield* peer.head
        peer.send("HTTP/1.1 200 OK\r\n\r\nhello")
        peer.end()
        assert.deepStrictEqual(yield* readAll(yield* Fiber.join(sending)), { text: "hello", failure: undefined })
      })
    )
  )

  for (const [what, sent] of [
    ["no HTTP at all", "SSH-2.0-OpenSSH_9.0\r\n\r\n"],
    ["both a length and chunks", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"],
    ["two different lengths", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello"],
    ["a status that is none", "HTTP/1.1 banana OK\r\n\r\n"]
  ] as const) {
    it.live(`is a broken protocol: ${what}`, () =>
      onLine(({ origin, send }) =>
        Effect.gen(function* () {
          const sending = yield* Effect.forkChild(Effect.flip(send()))
          const peer = yield* origin.next
          yield* peer.head
          peer.send(sent)
          assert.strictEqual((yield* Fiber.join(sending)).kind, "protocol")
          yield* peer.closed
        })
      )
    )
  }

  for (const [what, piece] of [
    ["many headers", "x-more: and more\r\n"],
    ["one header", "x"]
  ] as const) {
    it.live(`is a head that never ends, of ${what}: it costs no more than its bound`, () =>
      onLine(({ origin, send }) =>
        Effect.gen(function* () {
          const sending = yield* Effect.forkChild(Effect.flip(send()))
          const peer = yield* origin.next
          yield* peer.head
          peer.send("HTTP/1.1 200 OK\r\nx: ")
          const { socket } = peer
          const flood = () => {
            while (!socket.destroyed && socket.write(piece.repeat(1024)));
          }
          socket.on("drain", flood)
          flood()
          assert.deepInclude(yield* Fiber.join(sending), { kind: "protocol", detail: "UND_ERR_HEADERS_OVERFLOW" })
          yield* peer.closed
        })
      )
    )
  }

  it.live("is no trust: a certificate that no CA vouches for is never accepted in silence", () =>
    Effect.gen(function* () {
      let requests = 0
      const server = createTlsServer({ cert, key }, (socket) => {
        socket.on("data", () => requests++)
        socket.on("error", () => {})
      })
      server.on("tlsClientError", () => {})
      const port = yield* listen(server)
      yield* onLine(({ registry, send }) =>
        Effect.gen(function* () {
          yield* putInForce(registry, yield* configFor(`https://127.0.0.1:${port}`, {}))
          assert.strictEqual((yield* Effect.flip(send())).kind, "tls")
          assert.strictEqual(requests, 0)
        })
      )
    })
  )

  it.live("is a handshake that takes longer than the request may wait for it, though others may wait longer", () =>
    onLine(({ origin, registry, send }) =>
      Effect.gen(function* () {
        // It accepts connections and never says a word, so TLS never begins.
        yield* putInForce(registry, yield* configFor(origin.url.replace("http:", "https:"), {}))
        const patient = yield* Effect.forkChild(send({ connectTimeout: 3_600_000 }))
        yield* origin.next
        const failed = yield* Effect.flip(send({ connectTimeout: 50 }))
        assert.deepInclude(failed, { kind: "connect", detail: "UND_ERR_CONNECT_TIMEOUT" })
        yield* Fiber.interrupt(patient)
      })
    )
  )

  it.live("one connection that hangs holds up no other", () =>
    onLine(({ origin, registry, send }) =>
      Effect.gen(function* () {
        yield* putInForce(registry, yield* configFor(origin.url.replace("http:", "https:"), {}))
        const first = yield* Effect.forkChild(send())
        yield* origin.next
        const second = yield* Effect.forkChild(Effect.flip(send()))
        const peer = yield* origin.next
        peer.reset()
        assert.strictEqual((yield* Fiber.join(second)).kind, "reset")
        yield* Fiber.interrupt(first)
      })
    )
  )
})

describe("addresses that are denied", () => {
  for (const url of [
    "http://169.254.169.254",
    "http://[fd00:ec2::254]/",
    "http://[::ffff:a9fe:a9fe]",
    "http://metadata.google.internal"
  ]) {
    it.live(`are refused before anything is sent: ${url}`, () =>
      onLine(({ registry, send }) =>
        Effect.gen(function* () {
          yield* putInForce(registry, yield* configFor(url, {}))
          assert.strictEqual((yield* Effect.flip(send())).kind, "refused")
        })
      )
    )
  }

  it.live("are refused when a name turns out to mean one", () =>
    onLine(
      ({ origin, registry, send }) =>
        Effect.gen(function* () {
          const url = `http://localhost:${origin.port}`
          yield* putInForce(registry, yield* configFor(url, { security: { denyNetworks: ["127.0.0.0/8", "::1"] } }))
          assert.strictEqual((yield* Effect.flip(send())).kind, "refused")
          assert.strictEqual(origin.accepted(), 0)
        }),
      { security: { denyNetworks: ["127.0.0.0/8", "::1"] } }
    )
  )

  it.live("are those of the configuration in force, not of the one that the gateway began with", () =>
    onLine(({ origin, registry, send }) =>
      Effect.gen(function* () {
        yield* putInForce(registry, yield* configFor(origin.url, { security: { denyNetworks: ["127.0.0.1"] } }))
        assert.strictEqual((yield* Effect.flip(send())).kind, "refused")
        yield* putInForce(registry, yield* configFor(origin.url, {}))
        const sending = yield* Effect.forkChild(send())
        const peer = yield* origin.next
        yield* peer.head
        peer.send(ok("x"))
        yield* Fiber.join(sending)
      })
    )
  )
})

describe("a request body that comes while it is sent", () => {
  const hello = new TextEncoder().encode("hello")

  it.live("goes on as it comes", () =>
    onLine(({ origin, send }) =>
      Effect.gen(function* () {
        const more = yield* Deferred.make<void>()
        const body = Stream.concat(
          Stream.make(hello),
          Stream.fromEffect(Effect.as(Deferred.await(more), new TextEncoder().encode("world")))
        )
        const sending = yield* Effect.forkChild(send({ method: "POST", body }))
        const peer = yield* origin.next
        assert.match(yield* peer.until((received) => received.includes("hello")), /transfer-encoding: chunked/i)
        yield* Deferred.succeed(more, undefined)
        const all = yield* peer.until((received) => received.endsWith("0\r\n\r\n"))
        assert.include(all, "5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n")
        peer.send(ok("done"))
        assert.strictEqual((yield* readAll(yield* Fiber.join(sending))).text, "done")
      })
    )
  )

  it.live("is not read faster than the backend takes it", () =>
    onLine(({ origin, send }) =>
      Effect.gen(function* () {
        let produced = 0
        const piece = new Uint8Array(64 * 1024)
        const body = Stream.fromEffectRepeat(
          Effect.sync(() => {
            produced += piece.length
            return piece
          })
        )
        const sending = yield* Effect.forkChild(send({ method: "POST", body }))
        const peer = yield* origin.next
        peer.socket.pause()
        const stopped = yield* steady(() => produced)
        assert.isBelow(stopped, 32 * 1024 * 1024)
        peer.socket.resume()
        yield* eventually("it goes on", () => produced > stopped * 2)
        yield* Fiber.interrupt(sending)
        yield* peer.closed
      })
    )
  )

  it.live("a request body that breaks off breaks the request off, and that is what is told", () =>
    onLine(({ origin, send }) =>
      Effect.gen(function* () {
        const broken = new RequestBodyFailed({ reason: "broken" })
        const started = yield* Deferred.make<void>()
        const body = Stream.concat(
          Stream.make(hello),
          Stream.fromEffect(Effect.andThen(Deferred.await(started), Effect.fail(broken)))
        )
        const sending = yield* Effect.forkChild(Effect.flip(send({ method: "POST", body })))
        const peer = yield* origin.next
        yield* peer.until((received) => received.includes("hello"))
        yield* Deferred.succeed(started, undefined)
        assert.deepStrictEqual(yield* Fiber.join(sending), broken)
        yield* peer.closed
        assert.notInclude(peer.received(), "0\r\n\r\n")
      })
    )
  )

  const watched = Effect.gen(function* () {
    const closed = yield* Deferred.make<void>()
    const body = Stream.concat(Stream.make(hello), Stream.never).pipe(
      Stream.ensuring(Deferred.succeed(closed, undefined))
    )
    return { body, closed: Deferred.await(closed) }
  })

  it.live("is let go when the request is given up", () =>
    onLine(({ origin, send }) =>
      Effect.gen(function* () {
        const { body, closed } = yield* watched
        const sending = yield* Effect.forkChild(send({ method: "POST", body }))
        const peer = yield* origin.next
        yield* peer.until((received) => received.includes("hello"))
        yield* Fiber.interrupt(sending)
        yield* closed
        yield* peer.closed
      })
    )
  )

  it.live("is let go when the backend has answered without waiting for all of it, and the answer arrives", () =>
    onLine(({ origin, send }) =>
      Effect.gen(function* () {
        const { body, closed } = yield* watched
        const sending = yield* Effect.forkChild(send({ method: "POST", body }))
        const peer = yield* origin.next
        yield* peer.until((received) => received.includes("hello"))
        peer.send(`HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbig`)
        peer.end()
        const response = yield* Fiber.join(sending)
        assert.strictEqual(response.status, 413)
        assert.deepStrictEqual(yield* readAll(response), { text: "big", failure: undefined })
        yield* closed
      })
    )
  )
})

describe("a long request body", () => {
  const long = Buffer.from("0123456789abcdef".repeat(64 * 1024))

  const isWhole = (received: string) => received.endsWith(long.toString("latin1"))

  /** More than fits on the way to a backend that does not read on after the head. */
  const heldUp = Effect.fnUntraced(function* ({ origin, send }: Line) {
    const body = Buffer.concat(Array.from({ length: 32 }, () => long))
    const sending = yield* Effect.forkChild(send({ method: "POST", body }))
    const peer = yield* origin.next
    yield* peer.head
    peer.socket.pause()
    return { body, peer, sending }
  })

  it.live("arrives whole and with its length, one after another on the same connection", () =>
    onLine(({ origin, send }) =>
      Effect.gen(function* () {
        const first = yield* Effect.forkChild(send({ method: "POST", body: long }))
        const peer = yield* origin.next
        const sent = yield* peer.until(isWhole)
        assert.match(sent, /\r\ncontent-length: 1048576\r\n/i)
        assert.notMatch(sent, /transfer-encoding/i)
        peer.send(ok("one"))
        assert.strictEqual((yield* readAll(yield* Fiber.join(first))).text, "one")
        const second = yield* Effect.forkChild(send({ method: "POST", body: long }))
        yield* peer.until((received) => received.length === 2 * sent.length && isWhole(received))
        peer.send(ok("two"))
        assert.strictEqual((yield* readAll(yield* Fiber.join(second))).text, "two")
        assert.strictEqual(origin.accepted(), 1)
      })
    )
  )

  it.live("a body on a connection that its other end has had enough of is not a fault of the backend", () =>
    onLine(({ origin, send }) =>
      Effect.gen(function* () {
        for (const how of ["end", "reset"] as const) {
          const first = yield* Effect.forkChild(send())
          const peer = yield* origin.next
          yield* peer.head
          peer.send(ok("one"))
          yield* readAll(yield* Fiber.join(first))
          const second = yield* Effect.forkChild(Effect.flip(send({ method: "POST", body: long })))
          yield* peer.until((received) => received.includes("POST"))
          peer[how]()
          assert.strictEqual((yield* Fiber.join(second)).kind, "stale", how)
        }
      })
    )
  )

  it.live("a body that the backend does not take is given up with its request", () =>
    onLine((line) =>
      Effect.gen(function* () {
        const { body, peer, sending } = yield* heldUp(line)
        yield* Fiber.interrupt(sending)
        peer.socket.resume()
        yield* peer.closed
        assert.isBelow(peer.received().length, body.length)
      })
    )
  )

  it.live("need not be taken whole before the answer arrives", () =>
    onLine((line) =>
      Effect.gen(function* () {
        const { peer, sending } = yield* heldUp(line)
        peer.send("HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbig")
        const response = yield* Fiber.join(sending)
        assert.strictEqual(response.status, 413)
        assert.deepStrictEqual(yield* readAll(response), { text: "big", failure: undefined })
      })
    )
  )
})

describe("a proxy", () => {
  const proxied = <A, E>(use: (line: Line) => Effect.Effect<A, E, Scope.Scope>) =>
    onLine((line) =>
      Effect.gen(function* () {
        const { registry, origin } = line
        const client = { proxy: `http://user:p%40ss@127.0.0.1:${origin.port}`, keepAlive: "30s" }
        yield* putInForce(registry, yield* configFor("http://engine.invalid:8001", { client }))
        yield* use(line)
      })
    )

  it.live("is asked for the backend, with its own credentials and with the request as it is", () =>
    proxied(({ origin, send }) =>
      Effect.gen(function* () {
        const headers = ["x-many", "1", "X-Other", "a", "x-many", "2"]
        const sending = yield* Effect.forkChild(
          send({ method: "POST", path: "/v1/x?y=1", headers, body: Buffer.from("hi") })
        )
        const peer = yield* origin.next
        const sent = yield* peer.until((received) => received.endsWith("hi"))
        assert.match(sent, /^POST http:\/\/engine\.invalid:8001\/v1\/x\?y=1 HTTP\/1\.1\r\n/)
        assert.match(sent, /\r\nhost: engine\.invalid:8001\r\n/i)
        assert.match(sent, new RegExp(`\r\nproxy-authorization: Basic ${btoa("user:p@ss")}\r\n`, "i"))
        assert.match(sent, /\r\nx-many: 1\r\n/)
        assert.match(sent, /\r\nx-many: 2\r\n/)
        peer.send(ok("done"))
        assert.deepStrictEqual(yield* readAll(yield* Fiber.join(sending)), { text: "done", failure: undefined })
      })
    )
  )

  it.live("a proxy that is not there is a failed connect", () =>
    onLine(({ registry, send }) =>
      Effect.gen(function* () {
        const gone = yield* Effect.scoped(makeOrigin)
        yield* putInForce(registry, yield* configFor("http://engine.invalid", { client: { proxy: gone.url } }))
        assert.strictEqual((yield* Effect.flip(send())).kind, "connect")
      })
    )
  )

  for (const scheme of ["http", "https"]) {
    it.live(`is not asked for what must not be reached, wherever the name is resolved: ${scheme}`, () =>
      onLine(({ origin, registry, send }) =>
        Effect.gen(function* () {
          for (const host of ["169.254.169.254", "[::ffff:a9fe:a9fe]", "metadata.google.internal"]) {
            yield* putInForce(registry, yield* configFor(`${scheme}://${host}`, { client: { proxy: origin.url } }))
            assert.strictEqual((yield* Effect.flip(send())).kind, "refused")
          }
          assert.strictEqual(origin.accepted(), 0)
        })
      )
    )

    it.live(`is not connected to where its name means a denied address; a private one is none: ${scheme}`, () =>
      onLine(({ origin, registry, send }) =>
        Effect.gen(function* () {
          const client = { proxy: `http://localhost:${origin.port}` }
          const url = `${scheme}://engine.invalid`
          const denied = { denyNetworks: ["127.0.0.0/8", "::1"] }
          yield* putInForce(registry, yield* configFor(url, { client, security: denied }))
          assert.strictEqual((yield* Effect.flip(send())).kind, "refused")
          assert.strictEqual(origin.accepted(), 0)
          yield* putInForce(registry, yield* configFor(url, { client, security: { allowPrivateBackends: false } }))
          const sending = yield* Effect.forkChild(Effect.exit(send()))
          const peer = yield* origin.next
          assert.match(yield* peer.head, scheme === "http" ? /^GET http:/ : /^CONNECT engine\.invalid:443 /)
          yield* Fiber.interrupt(sending)
        })
      )
    )
  }

  it.live("a proxy that will not open a tunnel is a failed connect, whatever it says", () =>
    onLine(({ origin, registry, send }) =>
      Effect.gen(function* () {
        yield* putInForce(registry, yield* configFor("https://engine.invalid", { client: { proxy: origin.url } }))
        for (const status of [403, 407, 502]) {
          const sending = yield* Effect.forkChild(Effect.flip(send()))
          const peer = yield* origin.next
          yield* peer.head
          peer.send(`HTTP/1.1 ${status} No\r\ncontent-length: 0\r\n\r\n`)
          assert.strictEqual((yield* Fiber.join(sending)).kind, "connect")
          yield* peer.closed
        }
      })
    )
  )

  it.live("a proxy that answers with a head that never ends is bounded as any backend is", () =>
    proxied(({ origin, send }) =>
      Effect.gen(function* () {
        const sending = yield* Effect.forkChild(Effect.flip(send()))
        const peer = yield* origin.next
        yield* peer.head
        peer.send(`HTTP/1.1 200 OK\r\n${"x-more: and more\r\n".repeat(10_000)}`)
        assert.strictEqual((yield* Fiber.join(sending)).kind, "protocol")
        yield* peer.closed
      })
    )
  )
})
