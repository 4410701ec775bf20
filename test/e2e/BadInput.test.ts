/** What a client gets for what it should not have sent: each with its error of the contract. */

import * as net from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Simulator } from "../../src/sim/Simulator.ts"
import { ask, chat, errorOf, post, untilReadyz } from "./Ask.ts"
import { serve } from "./Program.ts"

const setUp = Effect.fnUntraced(function* (config: Record<string, unknown> = {}) {
  const simulator = yield* Simulator.make()
  const gateway = yield* serve({ backends: [{ name: "engine", url: simulator.url }], ...config })
  yield* untilReadyz(gateway.url)
  return { simulator, url: gateway.url }
})

/** Bytes as they are, on a connection of their own, and everything that comes back until it is closed. */
const raw = (url: string, ...pieces: ReadonlyArray<string>): Effect.Effect<string> =>
  Effect.callback((resume) => {
    const socket = net.connect(Number(new URL(url).port), "127.0.0.1")
    let received = ""
    socket.on("data", (chunk) => {
      received += chunk.toString("latin1")
    })
    socket.on("close", () => resume(Effect.succeed(received)))
    socket.on("error", () => {})
    for (const piece of pieces) socket.write(piece, "latin1")
    return Effect.sync(() => socket.destroy())
  })

describe("a body", () => {
  const cases: ReadonlyArray<
    readonly [what: string, body: string, status: number, code: string, param: string | null]
  > = [
    ["that is no JSON", "{oops", 400, "invalid_json", null],
    ["that is empty", "", 400, "invalid_json", null],
    ["that is a list", "[]", 400, "invalid_request", null],
    ["without a model", '{"messages":[]}', 400, "model_required", "model"],
    ["with an empty model", '{"model":"","messages":[]}', 400, "model_required", "model"],
    ["whose model is a number", '{"model":1,"messages":[]}', 400, "invalid_request", "model"],
    ["whose stream is a word", '{"model":"sim-model","stream":"yes","messages":[]}', 400, "invalid_request", "stream"],
    ["whose messages are an object", '{"model":"sim-model","messages":{}}', 400, "invalid_request", "messages"],
    ["that names two models", '{"model":"sim-model","model":"other","messages":[]}', 400, "invalid_request", "model"],
    [
      "that names a second model in disguise",
      '{"model":"sim-model","mod\\u0065l":"other"}',
      400,
      "invalid_request",
      "model"
    ],
    ["with a model that nobody has", '{"model":"nobody","messages":[]}', 404, "model_not_found", "model"]
  ]
  it.live("gets the error that says what is wrong with it, and never reaches an engine", () =>
    Effect.gen(function* () {
      const { simulator, url } = yield* setUp()
      for (const [what, body, status, code, param] of cases) {
        const answer = yield* post(`${url}/v1/chat/completions`, body)
        const error = errorOf(answer)
        assert.deepStrictEqual([what, answer.status, error.code, error.param], [what, status, code, param])
        assert.strictEqual(answer.headers.get("x-should-retry"), "false")
        assert.match(answer.headers.get("x-request-id") ?? "", /^[\w.-]{1,128}$/)
      }
      assert.strictEqual((yield* simulator.stats).started, 0)
    })
  )

  it.live("a body that is not UTF-8 is not JSON", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp()
      const answer = yield* ask(`${url}/v1/chat/completions`, {
        method: "POST",
        body: new Uint8Array([0x22, 0xff, 0x22])
      })
      assert.strictEqual(errorOf(answer).code, "invalid_json")
    })
  )

  it.live("a body that is nested 100,000 deep neither crashes nor blocks the gateway", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp()
      const answer = yield* post(
        `${url}/v1/chat/completions`,
        `{"model":"nobody","x":${"[".repeat(1e5)}${"]".repeat(1e5)}}`
      )
      assert.oneOf(answer.status, [400, 404])
      assert.strictEqual((yield* chat(url)).status, 200)
    })
  )

  it.live("a body that is too large is refused with the limit, announced or not", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp({ limits: { maxBodyBytes: "1KiB" } })
      const body = JSON.stringify({ model: "sim-model", messages: [{ role: "user", content: "x".repeat(4096) }] })
      const announced = yield* post(`${url}/v1/chat/completions`, body)
      assert.strictEqual(announced.status, 413)
      assert.strictEqual(errorOf(announced).code, "request_too_large")
      assert.include(errorOf(announced).message, "1024")
      const chunk = `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`
      const head =
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
      const unannounced = yield* raw(url, head, chunk)
      assert.match(unannounced, /^HTTP\/1\.1 413 /)
      assert.include(unannounced, "request_too_large")
      assert.strictEqual((yield* chat(url)).status, 200)
    })
  )
})

describe("a path or a method", () => {
  it.live("a path that the gateway does not know is answered with 404 by the backend that was asked", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp()
      const answer = yield* ask(`${url}/v1/nowhere?a=b`)
      assert.strictEqual(answer.status, 404)
      assert.strictEqual(errorOf(answer).code, "not_found")
      assert.strictEqual(answer.headers.get("x-routed-node"), "engine")
    })
  )

  it.live("a method that does not fit is answered with 405 and what would", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp()
      for (const [method, path, allow] of [
        ["GET", "/v1/chat/completions", "POST"],
        ["DELETE", "/v1/models", "GET, HEAD"],
        ["POST", "/healthz", "GET, HEAD"]
      ] as const) {
        const answer = yield* ask(url + path, { method })
        assert.deepStrictEqual([answer.status, answer.headers.get("allow")], [405, allow])
        assert.strictEqual(errorOf(answer).code, "method_not_allowed")
      }
    })
  )

  it.live("a path below /v1/messages gets its errors in Anthropic's form", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp()
      const answer = yield* post(`${url}/v1/messages`, { model: "nobody", messages: [] })
      assert.strictEqual(answer.status, 404)
      assert.deepInclude(answer.json, { type: "error" })
      assert.nestedPropertyVal(answer.json, "error.type", "not_found_error")
    })
  )
})

describe("a key", () => {
  it.live("a key that is missing, wrong or not ASCII is a 401, in every place where one can stand", () =>
    Effect.gen(function* () {
      const { simulator, url } = yield* setUp({ keys: [{ name: "k", key: "sk-right" }] })
      const headers: ReadonlyArray<Record<string, string>> = [
        {},
        { authorization: "Bearer sk-wrong" },
        { authorization: "Bearer " },
        { authorization: "Basic c2stcmlnaHQ=" },
        { authorization: "Bearer schl\u00fcssel\u00ff" },
        { "x-api-key": "sk-wrong" },
        { "api-key": "" }
      ]
      for (const each of headers) {
        const answer = yield* chat(url, {}, each)
        assert.strictEqual(answer.status, 401, JSON.stringify(each))
        assert.strictEqual(errorOf(answer).code, "invalid_api_key")
        assert.strictEqual(answer.headers.get("www-authenticate"), "Bearer")
      }
      assert.strictEqual((yield* simulator.stats).started, 0)
      for (const each of [
        { authorization: "Bearer sk-right" },
        { authorization: "bearer sk-right" },
        { "x-api-key": "sk-right" },
        { "api-key": "sk-right" }
      ]) {
        assert.strictEqual((yield* chat(url, { max_tokens: 1 }, each)).status, 200)
      }
    })
  )

  it.live("a client's key never reaches a backend", () =>
    Effect.gen(function* () {
      const { simulator, url } = yield* setUp({ keys: [{ name: "k", key: "sk-right" }] })
      yield* chat(
        url,
        { max_tokens: 1 },
        { authorization: "Bearer sk-right", "x-api-key": "sk-right", "api-key": "sk-right" }
      )
      assert.notInclude(JSON.stringify(yield* simulator.requests()), "sk-right")
    })
  )
})

describe("what is no HTTP", () => {
  it.live("gets a clean 400 or a closed connection, and all other clients are served", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp()
      const junk = [
        "\u0000\u0001\u0002\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: localhost\r\nx: a\r\n b\r\n\r\n"
      ]
      for (const piece of junk) {
        const answer = yield* raw(url, piece)
        if (answer !== "") assert.match(answer, /^HTTP\/1\.1 4\d\d /, JSON.stringify(piece))
      }
      const tooMuch = yield* raw(url, `GET / HTTP/1.1\r\nhost: localhost\r\nx: ${"a".repeat(64 * 1024)}\r\n\r\n`)
      assert.match(tooMuch, /^HTTP\/1\.1 431 /)
      assert.strictEqual((yield* chat(url, { max_tokens: 1 })).status, 200)
    })
  )
})

describe("a browser", () => {
  it.live("a browser with a foreign origin, or with a foreign name for loopback, is refused", () =>
    Effect.gen(function* () {
      const { simulator, url } = yield* setUp()
      const foreign = yield* chat(url, {}, { origin: "https://evil.example" })
      assert.strictEqual(foreign.status, 403)
      assert.strictEqual(errorOf(foreign).code, "origin_not_allowed")
      const rebound = yield* raw(url, "GET /v1/models HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n")
      assert.match(rebound, /^HTTP\/1\.1 403 /)
      const own = yield* chat(url, { max_tokens: 1 }, { origin: url })
      assert.strictEqual(own.status, 200)
      assert.strictEqual((yield* simulator.stats).started, 1)
    })
  )

  it.live("a browser from an allowed origin may ask, and is told so beforehand", () =>
    Effect.gen(function* () {
      const origin = "https://app.example"
      const { url } = yield* setUp({ listeners: [{ port: 0, cors: { origins: [origin] } }] })
      const before = yield* ask(`${url}/v1/chat/completions`, {
        method: "OPTIONS",
        headers: { origin, "access-control-request-method": "POST", "access-control-request-headers": "content-type" }
      })
      assert.strictEqual(before.status, 204)
      assert.strictEqual(before.headers.get("access-control-allow-origin"), origin)
      const answer = yield* chat(url, { max_tokens: 1 }, { origin })
      assert.strictEqual(answer.status, 200)
      assert.strictEqual(answer.headers.get("access-control-allow-origin"), origin)
    })
  )
})
