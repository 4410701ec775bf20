/** A listener that speaks TLS: HTTP/1.1 and HTTP/2 to the built program. */
import { writeFileSync } from "node:fs"
import * as http2 from "node:http2"
import * as https from "node:https"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Schema } from "effect"
import { Simulator } from "../../src/sim/Simulator.ts"
import { ca, renewed, server } from "../backend/Certificates.ts"
import { folderWith } from "../Folder.ts"
import { ask } from "./Ask.ts"
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
  return { simulator, origin: gateway.url.replace("http:", "https:"), gateway }
})

const body = (more: object = {}) =>
  JSON.stringify({ model: "sim-model", messages: [{ role: "user", content: "Hello" }], ...more })

interface Answered {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly text: string
}

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

  it.live("has nothing to say to a client that speaks plain HTTP, and goes on", () =>
    Effect.gen(function* () {
      const { gateway, origin } = yield* scene
      const plain = yield* Effect.exit(ask(`${gateway.url}/healthz`))
      assert.strictEqual(plain._tag, "Failure")
      assert.strictEqual((yield* overHttp1(origin, "/healthz")).status, 200)
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
