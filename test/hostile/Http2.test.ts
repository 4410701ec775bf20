/** The same distrust of HTTP/2: streams without end, streams that are given up at once, and heads that only it can have. */
import { readFileSync, writeFileSync } from "node:fs"
import * as http2 from "node:http2"
import * as net from "node:net"
import * as path from "node:path"
import * as tls from "node:tls"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { ask } from "../e2e/Ask.ts"
import { eventually } from "../e2e/Program.ts"
import { folderWith } from "../Folder.ts"
import { ca, server } from "../transport/Certificates.ts"
import { completion } from "./Recorder.ts"
import { memory, setUp } from "./Rig.ts"

const certificate = folderWith({ "cert.pem": server.cert, "key.pem": server.key })

/** Longer than a client has for its head, where it is asked to be. */
const slowly = (socket: net.Socket, heard: string) => {
  setTimeout(() => socket.end(completion, "latin1"), heard.includes("/slow") ? 2500 : 0)
}

/** A gateway whose first listener speaks TLS, and a second one without it to look in from. */
const scene = Effect.gen(function* () {
  const folder = yield* certificate
  const pems = { cert: path.join(folder, "cert.pem"), key: path.join(folder, "key.pem") }
  const rig = yield* setUp({
    listener: { name: "plain" },
    answer: slowly,
    second: { name: "secure", port: 0, tls: pems, connectTimeout: "1s" }
  })
  return { ...rig, origin: rig.gateway.urlOf("secure").replace("http:", "https:") }
})

const connected = (origin: string) =>
  Effect.acquireRelease(
    Effect.callback<http2.ClientHttp2Session>((resume) => {
      const session = http2.connect(origin, { ca })
      session.on("error", () => {})
      session.once("remoteSettings", () => resume(Effect.succeed(session)))
    }),
    (session) => Effect.sync(() => session.destroy())
  )

interface Answered {
  /** 0 where the stream was refused. */
  readonly status: number
  readonly text: string
}

const send = (session: http2.ClientHttp2Session, headers: http2.OutgoingHttpHeaders, body?: string) =>
  Effect.callback<Answered>((resume) => {
    const stream = session.request(headers)
    let status = 0
    let text = ""
    stream.on("response", (head) => {
      status = head[":status"] ?? 0
    })
    stream.on("data", (chunk: Buffer) => {
      text += chunk.toString()
    })
    stream.on("error", () => {})
    stream.on("close", () => resume(Effect.succeed({ status, text })))
    stream.end(body)
  })

const body = '{"model":"m","messages":[]}'
const chat = { ":method": "POST", ":path": "/v1/chat/completions" }

const codeOf = (text: string) =>
  Schema.decodeUnknownSync(Schema.fromJsonString(Schema.Struct({ error: Schema.Struct({ code: Schema.String }) })))(
    text
  ).error.code

/** Connects, says nothing more, and waits to be closed. */
const silence = (origin: string, protocol: "nothing at all" | "http/1.1" | "h2") =>
  Effect.callback<void>((resume) => {
    const { hostname: host, port: named } = new URL(origin)
    const port = Number(named)
    const socket =
      protocol === "nothing at all"
        ? net.connect({ host, port })
        : tls.connect({ host, port, ca, ALPNProtocols: [protocol] })
    socket.resume()
    socket.on("error", () => {})
    socket.on("close", () => resume(Effect.void))
    return Effect.sync(() => socket.destroy())
  })

describe("a client of a listener with TLS that says nothing", () => {
  for (const protocol of ["nothing at all", "http/1.1", "h2"] as const) {
    it.live(`is closed when its time for a head is over, speaking ${protocol}`, () =>
      Effect.gen(function* () {
        const { origin } = yield* scene
        yield* Effect.timeout(silence(origin, protocol), "15 seconds")
      })
    )
  }

  it.live("is not taken for one whose answer is on its way", () =>
    Effect.gen(function* () {
      const { origin } = yield* scene
      const session = yield* connected(origin)
      const answer = yield* send(session, { ":path": "/v1/slow" })
      assert.strictEqual(answer.status, 200)
    })
  )
})

describe("a client that speaks TLS to a listener without it", () => {
  it.live("is closed, and the next one is served", () =>
    Effect.gen(function* () {
      const { gateway } = yield* scene
      const plain = gateway.url.replace("http:", "https:")
      for (const protocol of ["http/1.1", "h2"] as const) {
        yield* Effect.timeout(silence(plain, protocol), "15 seconds")
        assert.strictEqual((yield* ask(`${gateway.url}/healthz`)).status, 200)
      }
      assert.notInclude(gateway.stderr.join("\n"), '"level":"error"')
    })
  )
})

describe("a listener that speaks HTTP/2", () => {
  it.live("paths, names and codings are judged as they are over HTTP/1.1", () =>
    Effect.gen(function* () {
      const { origin, recorder } = yield* scene
      const session = yield* connected(origin)
      const refused: ReadonlyArray<readonly [http2.OutgoingHttpHeaders, number, string]> = [
        [{ ":path": "/v1/../secret" }, 400, "invalid_request"],
        [{ ":path": "/v1/%2e%2e/secret" }, 400, "invalid_request"],
        [{ ":path": "*", ":method": "OPTIONS" }, 400, "invalid_request"],
        [{ ...chat, ":path": "/v1/%63hat/completions" }, 400, "invalid_request"],
        [{ ...chat, "content-encoding": "gzip" }, 400, "invalid_request"],
        [{ ":path": "/v1/models", ":authority": "evil.example" }, 403, "origin_not_allowed"],
        [{ ":path": "/v1/files", ":method": "TRACE" }, 405, "method_not_allowed"],
        [{ ":path": "/v1/files", ":method": "trace" }, 405, "method_not_allowed"],
        [{ ":path": "/v1/files", ":method": "TRACK" }, 405, "method_not_allowed"],
        [{ ":path": "/healthz", ":method": "__proto__" }, 405, "method_not_allowed"],
        [{ ":path": "/healthz", ":method": "toString" }, 405, "method_not_allowed"]
      ]
      for (const [headers, status, code] of refused) {
        const answer = yield* send(session, headers)
        assert.deepStrictEqual([headers, answer.status], [headers, status], answer.text)
        assert.strictEqual(codeOf(answer.text), code)
      }
      assert.deepStrictEqual(recorder.heard(), [])
      assert.strictEqual((yield* send(session, chat, body)).status, 200)
    })
  )

  it.live("a connection has no more streams at once than it may, and those are served", () =>
    Effect.gen(function* () {
      const { origin } = yield* scene
      const session = yield* connected(origin)
      assert.strictEqual(session.remoteSettings.maxConcurrentStreams, 256)
      const answers = yield* Effect.all(
        Array.from({ length: 600 }, () => send(session, chat, body)),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(new Set(answers.map(({ status }) => status)), new Set([200]))
    })
  )

  it.live(
    "streams that are given up at once, by the thousand, keep no client from being served and leave nothing behind",
    () =>
      Effect.gen(function* () {
        const { gateway, origin, recorder } = yield* scene
        const session = yield* connected(origin)
        const over = () => session.closed || session.destroyed
        for (let n = 0; n < 60 && !over(); n++) {
          for (let each = 0; each < 50 && !over(); each++) {
            const stream = session.request(chat)
            stream.on("error", () => {})
            stream.end(body)
            stream.close(http2.constants.NGHTTP2_CANCEL)
          }
          yield* Effect.sleep("1 millis")
        }
        const another = yield* connected(origin)
        assert.strictEqual((yield* send(another, chat, body)).status, 200)
        yield* eventually(
          Effect.map(ask(`${gateway.url}/stats`), ({ text }) =>
            recorder.open() === 0 && text.includes('"active_requests":0') && text.includes('"inflight":0')
              ? true
              : undefined
          ),
          () => `${recorder.open()} connections to the backend`
        )
      })
  )
})

/** As many bytes as `limits.maxHeaderBytes` allows by default. */
const headLimit = 16_384

const fields = (count: number, value: string) =>
  Object.fromEntries(Array.from({ length: count }, (_, index) => [`x-${index}`, value]))

describe("a head over HTTP/2", () => {
  it.live("passes up to limits.maxHeaderBytes, and is a 431 beyond, whatever fills it", () =>
    Effect.gen(function* () {
      const { origin, recorder } = yield* scene
      const session = yield* connected(origin)
      const within: ReadonlyArray<readonly [string, http2.OutgoingHttpHeaders]> = [
        ["one large field", { "x-large": "y".repeat(headLimit - 400) }],
        ["many small fields", fields(1000, "v")],
        ["the path", { ":path": `/v1/files?${"q".repeat(headLimit - 400)}` }],
        ["a cookie in many pieces", { cookie: Array.from({ length: 1000 }, () => "a=1") }]
      ]
      for (const [what, headers] of within) {
        assert.strictEqual((yield* send(session, { ":path": "/v1/files", ...headers })).status, 200, what)
      }
      const heard = recorder.heard().length
      const beyond: ReadonlyArray<readonly [string, http2.OutgoingHttpHeaders]> = [
        ["one large field", { "x-large": "y".repeat(headLimit) }],
        ["one much larger field", { "x-large": "y".repeat(3 * headLimit) }],
        ["many small fields", fields(2500, "v")],
        ["the path", { ":path": `/v1/files?${"q".repeat(headLimit)}` }],
        ["a cookie in many pieces", { cookie: Array.from({ length: 1500 }, () => "a=1") }],
        ["one field again and again, that compresses well", { "x-again": Array.from({ length: 10 }, () => large) }],
        ["the route of the gateway's own", { ":path": "/v1/models", "x-large": "y".repeat(headLimit) }],
        ["a path that needs no key", { ":path": "/healthz", "x-large": "y".repeat(headLimit) }]
      ]
      for (const [what, headers] of beyond) {
        const { status, text } = yield* send(session, { ":path": "/v1/files", ...headers })
        assert.strictEqual(status, 431, what)
        assert.strictEqual(codeOf(text), "request_too_large", what)
        assert.include(text, "limits.maxHeaderBytes", what)
      }
      assert.strictEqual(recorder.heard().length, heard)
      assert.strictEqual((yield* send(session, chat, body)).status, 200)
    })
  )

  it.live("follows a change of limits.maxHeaderBytes", () =>
    Effect.gen(function* () {
      const { gateway, origin } = yield* scene
      const wide = { ":path": "/healthz", ...fields(2000, "value") }
      assert.strictEqual((yield* send(yield* connected(origin), wide)).status, 431)
      const config: object = JSON.parse(readFileSync(gateway.file, "utf8"))
      writeFileSync(gateway.file, JSON.stringify({ ...config, limits: { maxHeaderBytes: "96KiB" } }))
      yield* gateway.signal("SIGHUP")
      yield* eventually(
        Effect.map(Effect.scoped(Effect.flatMap(connected(origin), (session) => send(session, wide))), ({ status }) =>
          status === 200 ? true : undefined
        ),
        () => gateway.stderr.join("\n")
      )
    })
  )

  it.live("a head that unpacks to a great deal is given up unread, and costs no other client anything", () =>
    Effect.gen(function* () {
      const { gateway, origin } = yield* scene
      const session = yield* connected(origin)
      const before = yield* memory(gateway)
      // The second and all later ones are one byte each.
      const bomb = { ":path": "/v1/files", "x-again": Array.from({ length: 10_000 }, () => large) }
      yield* Effect.forEach(Array.from({ length: 50 }), () => send(session, bomb), { concurrency: 10 })
      assert.isBelow((yield* memory(gateway)) - before, 64)
      assert.strictEqual((yield* send(yield* connected(origin), chat, body)).status, 200)
    })
  )

  for (const [what, length] of [
    ["empty", 0],
    ["small", 10],
    ["full", 16_384]
  ] as const) {
    it.live(`a head that never ends, in ${what} frames, ends its connection and no other`, () =>
      Effect.gen(function* () {
        const { gateway, origin } = yield* scene
        const other = yield* connected(origin)
        const before = yield* memory(gateway)
        yield* Effect.timeout(continuedForEver(origin, length), "20 seconds")
        assert.isBelow((yield* memory(gateway)) - before, 64)
        assert.strictEqual((yield* send(other, chat, body)).status, 200)
      })
    )
  }
})

/** Fits into HPACK's table. */
const large = "y".repeat(3000)

/** A head that is continued until the other side has enough of it. */
const continuedForEver = (origin: string, length: number) =>
  Effect.callback<void>((resume) => {
    const { hostname: host, port } = new URL(origin)
    const socket = tls.connect({ host, port: Number(port), ca, ALPNProtocols: ["h2"] })
    socket.on("error", () => {})
    socket.on("close", () => resume(Effect.void))
    socket.resume()
    const frame = (type: number, stream: number, payload: Buffer) => {
      const head = Buffer.alloc(9)
      head.writeUIntBE(payload.length, 0, 3)
      head.writeUInt8(type, 3)
      head.writeUInt32BE(stream, 5)
      return Buffer.concat([head, payload])
    }
    // A literal field without a name that the table knows, of which only the beginning ever comes.
    const begun = Buffer.from([0x00, 0x01, 0x78, 0x7f, 0xff, 0xff, 0x7f])
    const [settings, headers, continuation] = [4, 1, 9]
    const more = frame(continuation, 1, Buffer.alloc(length, "y"))
    const goOn = () => {
      if (!socket.writable) return
      socket.write(more, () => setImmediate(goOn))
    }
    socket.on("secureConnect", () => {
      socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
      socket.write(frame(settings, 0, Buffer.alloc(0)))
      socket.write(frame(headers, 1, begun))
      goOn()
    })
    return Effect.sync(() => socket.destroy())
  })

describe("fields that a client repeats over HTTP/2", () => {
  it.live("go to the backend as they came, but a cookie's pieces as the one cookie that they are", () =>
    Effect.gen(function* () {
      const { origin, recorder } = yield* scene
      const session = yield* connected(origin)
      const linesFor = Effect.fnUntraced(function* (headers: http2.OutgoingHttpHeaders) {
        assert.strictEqual((yield* send(session, { ":path": "/v1/files", ...headers })).status, 200)
        const head = (recorder.heard().at(-1) ?? "").split("\r\n\r\n")[0] ?? ""
        return head.split("\r\n").filter((line) => /^(cookie|x-a|x-b)/i.test(line))
      })
      assert.deepStrictEqual(yield* linesFor({ cookie: ["a=1", "b=2; c=3", "d=4"] }), ["cookie: a=1; b=2; c=3; d=4"])
      assert.deepStrictEqual(yield* linesFor({ cookie: "a=1" }), ["cookie: a=1"])
      assert.deepStrictEqual(yield* linesFor({ "x-a": ["1", "2"], cookie: ["a=1", "b=2"], "x-b": ["3", "4"] }), [
        "x-a: 1",
        "x-a: 2",
        "cookie: a=1; b=2",
        "x-b: 3",
        "x-b: 4"
      ])
      assert.deepStrictEqual(yield* linesFor({ "x-a": ["1", "2", "3"] }), ["x-a: 1", "x-a: 2", "x-a: 3"])
    })
  )
})

describe("a WebSocket over HTTP/2", () => {
  it.live("is not offered, and refused where it is asked for all the same", () =>
    Effect.gen(function* () {
      const { origin, recorder, url } = yield* scene
      const session = yield* connected(origin)
      assert.isNotTrue(session.remoteSettings.enableConnectProtocol)
      const key = { "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-version": "13" }
      const plain = yield* send(session, { ":path": "/v1/realtime?model=m", ...key })
      assert.strictEqual(plain.status, 400)
      assert.include(plain.text, "over HTTP/1.1 only")
      const extended = { ":method": "CONNECT", ":protocol": "websocket", ":scheme": "https", ":authority": "localhost" }
      const connect = yield* send(session, { ...extended, ":path": "/v1/realtime?model=m", ...key })
      assert.notInclude([101, 200], connect.status)
      assert.notInclude(recorder.heard().join(""), "realtime")
      assert.strictEqual((yield* ask(`${url}/healthz`)).status, 200)
    })
  )
})
