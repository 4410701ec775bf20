/** A listener that speaks TLS: HTTP/1.1 and HTTP/2 to the built program. */
import { X509Certificate } from "node:crypto"
import { writeFileSync } from "node:fs"
import * as http2 from "node:http2"
import * as https from "node:https"
import * as net from "node:net"
import * as path from "node:path"
import * as tls from "node:tls"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Schema } from "effect"
import { Simulator } from "../../src/sim/Simulator.ts"
import { folderWith } from "../Folder.ts"
import { ca, renewed, server } from "../transport/Certificates.ts"
import { eventually, run, serve } from "./Program.ts"

const folder = folderWith({ "cert.pem": server.cert, "key.pem": server.key, "other.pem": renewed.key })

const scene = Effect.gen(function* () {
  const at = yield* folder
  const simulator = yield* Simulator.make({ ttft: Duration.millis(2), itl: Duration.millis(2), tokens: 8 })
  const gateway = yield* serve({
    listeners: [{ port: 0, tls: { cert: path.join(at, "cert.pem"), key: path.join(at, "key.pem") } }],
    backends: [{ name: "a", url: simulator.url }],
    keys: [{ name: "k", key: "sk-1" }]
  })
  return { at, simulator, origin: gateway.url.replace("http:", "https:"), gateway }
})

const body = (more: object = {}) =>
  JSON.stringify({ model: "sim-model", messages: [{ role: "user", content: "Hello" }], ...more })

interface Answered {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly text: string
}

/** Bytes without TLS, and everything that comes back until the connection closes. */
const plainly = (origin: string, sent: string) =>
  Effect.callback<string>((resume) => {
    const { hostname: host, port } = new URL(origin)
    const socket = net.connect({ host, port: Number(port) })
    let heard = ""
    socket.on("data", (piece: Buffer) => {
      heard += piece.toString("latin1")
    })
    socket.on("error", () => {})
    socket.on("close", () => resume(Effect.succeed(heard)))
    socket.write(Buffer.from(sent, "latin1"))
    return Effect.sync(() => socket.destroy())
  })

/** Over HTTP/1.1, trusting the test's CA alone. */
const overHttp1 = (origin: string, at: string, text?: string, key = "sk-1") =>
  Effect.callback<Answered, Error>((resume) => {
    const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" }
    const request = https.request(`${origin}${at}`, { ca, method: text === undefined ? "GET" : "POST", headers })
    request.on("error", (error) => resume(Effect.fail(error)))
    request.on("response", (response) => {
      const pieces: Array<Buffer> = []
      response.on("data", (piece: Buffer) => pieces.push(piece))
      response.on("end", () => {
        const { headers: own, statusCode: status = 0 } = response
        resume(Effect.succeed({ status, headers: own, text: Buffer.concat(pieces).toString() }))
      })
    })
    request.end(text)
  })

const connected = (origin: string) =>
  Effect.acquireRelease(
    Effect.callback<http2.ClientHttp2Session, Error>((resume) => {
      const session = http2.connect(origin, { ca })
      session.once("connect", () => resume(Effect.succeed(session)))
      session.once("error", (error) => resume(Effect.fail(error)))
    }),
    (session) => Effect.sync(() => session.destroy())
  )

const open = (session: http2.ClientHttp2Session, at: string, text?: string) => {
  const stream = session.request({
    ":method": text === undefined ? "GET" : "POST",
    ":path": at,
    authorization: "Bearer sk-1",
    "content-type": "application/json"
  })
  stream.on("error", () => {})
  stream.end(text)
  return stream
}

const overHttp2 = (session: http2.ClientHttp2Session, at: string, text?: string) =>
  Effect.callback<Answered>((resume) => {
    const stream = open(session, at, text)
    const pieces: Array<Buffer> = []
    let headers: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader = {}
    stream.on("response", (head) => {
      headers = head
    })
    stream.on("data", (piece: Buffer) => pieces.push(piece))
    stream.on("close", () =>
      resume(Effect.succeed({ status: headers[":status"] ?? 0, headers, text: Buffer.concat(pieces).toString() }))
    )
  })

const Completion = Schema.fromJsonString(
  Schema.Struct({
    choices: Schema.NonEmptyArray(Schema.Struct({ message: Schema.Struct({ content: Schema.String }) }))
  })
)
const contentOf = (text: string) => Schema.decodeUnknownSync(Completion)(text).choices[0].message.content

describe("a listener with a certificate", () => {
  it.live("serves a completion and a stream over HTTP/1.1", () =>
    Effect.gen(function* () {
      const { origin } = yield* scene
      const whole = yield* overHttp1(origin, "/v1/chat/completions", body())
      assert.strictEqual(whole.status, 200)
      assert.isNotEmpty(contentOf(whole.text))
      const stream = yield* overHttp1(origin, "/v1/chat/completions", body({ stream: true }))
      assert.include(stream.headers["content-type"], "text/event-stream")
      assert.match(stream.text, /data: \[DONE\]\n\n$/)
    })
  )

  it.live("serves many at once on one connection over HTTP/2, streams among them", () =>
    Effect.gen(function* () {
      const { gateway, origin, simulator } = yield* scene
      const session = yield* connected(origin)
      assert.strictEqual(session.alpnProtocol, "h2")
      const answers = yield* Effect.forEach(
        Array.from({ length: 20 }, (_, index) => index % 2 === 0),
        (stream) => overHttp2(session, "/v1/chat/completions", body({ stream })),
        { concurrency: "unbounded" }
      )
      for (const [index, { headers, status, text }] of answers.entries()) {
        assert.strictEqual(status, 200)
        assert.strictEqual(headers["x-routed-node"], "a")
        assert.isUndefined(headers["connection"])
        if (index % 2 === 0) assert.match(text, /data: \[DONE\]\n\n$/)
        else assert.isNotEmpty(contentOf(text))
      }
      assert.strictEqual((yield* simulator.stats).finished, 20)
      const models = yield* overHttp2(session, "/v1/models")
      assert.include(models.text, "sim-model")
      assert.notInclude(gateway.stderr.join("\n"), '"level":"ERROR"')
    })
  )

  it.live("lets go of the engine when a client leaves a stream over HTTP/2, and serves the others on", () =>
    Effect.gen(function* () {
      const { origin, simulator } = yield* scene
      yield* simulator.setFaults({ kind: "stall", afterTokens: 2, times: 1 })
      const session = yield* connected(origin)
      const leaving = open(session, "/v1/chat/completions", body({ stream: true }))
      yield* Effect.callback<void>((resume) => {
        leaving.once("data", () => resume(Effect.void))
      })
      leaving.close(http2.constants.NGHTTP2_CANCEL)
      yield* eventually(
        Effect.map(simulator.stats, ({ cancelled }) => (cancelled === 1 ? true : undefined)),
        () => "the engine was never told"
      )
      assert.strictEqual((yield* overHttp2(session, "/v1/chat/completions", body())).status, 200)
      const { running } = yield* simulator.stats
      assert.strictEqual(running, 0)
    })
  )

  it.live("lets go of all that ran on an HTTP/2 connection that breaks", () =>
    Effect.gen(function* () {
      const { origin, simulator } = yield* scene
      yield* simulator.setFaults({ kind: "stall", afterTokens: 2 })
      const session = yield* connected(origin)
      const streams = Array.from({ length: 5 }, () => open(session, "/v1/chat/completions", body({ stream: true })))
      for (const stream of streams) {
        yield* Effect.callback<void>((resume) => {
          stream.once("data", () => resume(Effect.void))
        })
      }
      session.destroy()
      yield* eventually(
        Effect.map(simulator.stats, ({ cancelled }) => (cancelled === 5 ? true : undefined)),
        () => "the engine was never told"
      )
    })
  )

  it.live("answers a wrong key, an unknown model and an unknown path in the usual form over both", () =>
    Effect.gen(function* () {
      const { origin } = yield* scene
      const session = yield* connected(origin)
      assert.strictEqual((yield* overHttp1(origin, "/v1/models", undefined, "wrong")).status, 401)
      const unknown = yield* overHttp2(session, "/v1/chat/completions", body({ model: "nobody" }))
      assert.strictEqual(unknown.status, 404)
      assert.include(unknown.text, '"model_not_found"')
      assert.strictEqual((yield* overHttp2(session, "/v1/chat/completions", "{")).status, 400)
    })
  )

  it.live("tells a client that speaks plain HTTP to use https, and goes on", () =>
    Effect.gen(function* () {
      const { origin } = yield* scene
      const large = "x".repeat(500_000)
      for (const sent of [
        "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${large.length}\r\n\r\n${large}`,
        "OPTIONS / HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\n\r\n",
        "DELETE /x HTTP/1.1\r\nHost: x\r\n\r\n",
        "CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n"
      ]) {
        const [head = "", text = ""] = (yield* plainly(origin, sent)).split("\r\n\r\n")
        assert.match(head, /^HTTP\/1\.1 400 Bad Request\r\n/, sent.slice(0, 20))
        assert.match(head, /\r\nconnection: close/)
        assert.include(text, '"code":"invalid_request"')
        assert.include(text, "https://")
      }
      assert.strictEqual((yield* overHttp1(origin, "/healthz")).status, 200)
    })
  )

  it.live("closes a connection on which a handshake breaks off, without a word of HTTP", () =>
    Effect.gen(function* () {
      const { origin } = yield* scene
      assert.notInclude(yield* plainly(origin, "\u0016\u0003\u0001\u0000\u0005hello"), "HTTP")
      assert.strictEqual((yield* overHttp1(origin, "/healthz")).status, 200)
    })
  )
})

describe("what a listener with a certificate agrees to", () => {
  const cipherOf = (origin: string, options: tls.ConnectionOptions) =>
    Effect.callback<string>((resume) => {
      const { hostname: host, port } = new URL(origin)
      const socket = tls.connect({ host, port: Number(port), ca, ...options })
      socket.on("secureConnect", () => {
        const { name, version } = socket.getCipher()
        resume(Effect.succeed(`${version} ${name}`))
        socket.destroy()
      })
      socket.on("error", () => resume(Effect.succeed("refused")))
    })

  const certificateOf = (origin: string) =>
    Effect.callback<string | undefined>((resume) => {
      const { hostname: host, port } = new URL(origin)
      const socket = tls.connect({ host, port: Number(port), ca })
      socket.on("secureConnect", () => {
        resume(Effect.succeed(socket.getPeerX509Certificate()?.serialNumber))
        socket.destroy()
      })
      socket.on("error", () => resume(Effect.undefined))
    })

  const refused = [
    ["CBC with forward secrecy", { ciphers: "ECDHE-RSA-AES128-SHA256:ECDHE-RSA-AES256-SHA384:ECDHE-RSA-AES128-SHA" }],
    ["CBC with an elliptic certificate", { ciphers: "ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA384" }],
    ["AEAD without forward secrecy", { ciphers: "AES128-GCM-SHA256:AES256-GCM-SHA384" }],
    ["neither", { ciphers: "AES128-SHA:AES256-SHA:AES128-SHA256" }],
    ["finite-field Diffie-Hellman", { ciphers: "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384" }],
    ["TLS 1.1", { minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" }],
    ["TLS 1.0", { minVersion: "TLSv1", maxVersion: "TLSv1", ciphers: "DEFAULT@SECLEVEL=0" }]
  ] as const
  const agreed = [
    ["TLS 1.3", {}, /^TLSv1\.3 /],
    ["TLS 1.3 with ChaCha", { ciphers: "TLS_CHACHA20_POLY1305_SHA256" }, /^TLSv1\.3 TLS_CHACHA20/],
    ["TLS 1.2 as a client has it by itself", { maxVersion: "TLSv1.2" }, /^TLSv1(\/SSLv3|\.2) ECDHE-.*GCM/],
    ["HTTP/2 over TLS 1.2", { maxVersion: "TLSv1.2", ALPNProtocols: ["h2"] }, / ECDHE-.*GCM/],
    ["a client that also offers what is old", { maxVersion: "TLSv1.2", ciphers: "AES128-SHA:HIGH" }, / ECDHE-.*GCM/]
  ] as const

  const judged = Effect.fnUntraced(function* (origin: string) {
    for (const [what, options] of refused) {
      const { maxVersion = "TLSv1.2", ...more }: tls.ConnectionOptions = options
      assert.strictEqual(yield* cipherOf(origin, { maxVersion, ...more }), "refused", what)
    }
    for (const [what, options, form] of agreed) {
      const { ALPNProtocols, ...more }: { ALPNProtocols?: ReadonlyArray<string> } & tls.ConnectionOptions = options
      const protocols = ALPNProtocols === undefined ? {} : { ALPNProtocols: [...ALPNProtocols] }
      assert.match(yield* cipherOf(origin, { ...more, ...protocols }), form, what)
    }
  })

  it.live("has forward secrecy and authenticated encryption, and is TLS 1.2 at least", () =>
    Effect.flatMap(scene, ({ origin }) => judged(origin))
  )

  it.live("is the same after the certificate was renewed", () =>
    Effect.gen(function* () {
      const { at, gateway, origin } = yield* scene
      writeFileSync(path.join(at, "key.pem"), renewed.key)
      writeFileSync(path.join(at, "cert.pem"), renewed.cert)
      yield* gateway.signal("SIGHUP")
      const issued = new X509Certificate(renewed.cert).serialNumber
      yield* eventually(
        Effect.map(certificateOf(origin), (serial) => (serial === issued ? true : undefined)),
        () => gateway.stderr.join("\n")
      )
      yield* judged(origin)
    })
  )
})

describe("a stop while clients are connected over HTTP/2", () => {
  it.live("lets a stream finish, tells the client to go elsewhere, and ends with 0", () =>
    Effect.gen(function* () {
      const { gateway, origin } = yield* scene
      const session = yield* connected(origin)
      const stream = open(session, "/v1/chat/completions", body({ stream: true }))
      let text = ""
      const told = Effect.callback<void>((resume) => {
        session.once("goaway", () => resume(Effect.void))
        if (session.closed || session.destroyed) resume(Effect.void)
      })
      yield* Effect.callback<void>((resume) => {
        stream.on("data", (piece: Buffer) => {
          text += piece.toString()
          resume(Effect.void)
        })
      })
      yield* gateway.signal("SIGTERM")
      yield* Effect.callback<void>((resume) => {
        stream.once("close", () => resume(Effect.void))
      })
      assert.match(text, /data: \[DONE\]\n\n$/)
      yield* told
      assert.strictEqual(yield* gateway.ended, 0)
    })
  )

  it.live("does not wait for a connection on which nothing runs", () =>
    Effect.gen(function* () {
      const { gateway, origin } = yield* scene
      const session = yield* connected(origin)
      assert.strictEqual((yield* overHttp2(session, "/healthz")).status, 200)
      yield* gateway.signal("SIGTERM")
      const [took, status] = yield* Effect.timed(gateway.ended)
      assert.strictEqual(status, 0)
      assert.isBelow(Duration.toMillis(took), 5000)
    })
  )
})

describe("a start with a certificate that will not do", () => {
  const startedWith = (cert: string, key: string) =>
    Effect.gen(function* () {
      const at = yield* folder
      const config = path.join(at, "weir.yaml")
      writeFileSync(
        config,
        `listeners: [{ port: 0, tls: { cert: ${path.join(at, cert)}, key: ${path.join(at, key)} } }]`
      )
      const program = yield* run(["serve", "--config", config])
      const status = yield* program.ended
      return { status, said: program.stderr.map((line) => line.replaceAll(at, "")) }
    })

  for (const [what, cert, key, expected] of [
    ["a file that is missing", "gone.pem", "key.pem", "listeners[0].tls.cert: /gone.pem is not there (line 1)"],
    [
      "a file that is none",
      "key.pem",
      "key.pem",
      "listeners[0].tls.cert: /key.pem holds no certificate in PEM form (line 1)"
    ],
    [
      "a key of another",
      "cert.pem",
      "other.pem",
      "listeners[0].tls.key: /other.pem is not the key of the certificate in /cert.pem (line 1)"
    ]
  ] as const) {
    it.live(`ends with one clear line: ${what}`, () =>
      Effect.map(startedWith(cert, key), ({ said, status }) => {
        assert.deepStrictEqual(said, [expected])
        assert.strictEqual(status, 1)
      })
    )
  }
})
