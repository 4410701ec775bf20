/** Requests that two readers could understand in two ways: refused, and nothing of them reaches a backend. */
import type { Socket } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { chat } from "../e2e/Ask.ts"
import { eventually } from "../e2e/Program.ts"
import { connect, exchange, request } from "./Raw.ts"
import { setUp } from "./Rig.ts"

const body = '{"model":"m","messages":[]}'
const length = `content-length: ${body.length}`
const chunked = `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`
const hidden = request("GET", "/v1/hidden", ["x-smuggled: 1"])
const post = (lines: ReadonlyArray<string>, content = body) => request("POST", "/v1/chat/completions", lines, content)
const get = (target: string, ...lines: ReadonlyArray<string>) => request("GET", target, ["connection: close", ...lines])
const te = (coding: string, content = chunked) => post([`transfer-encoding: ${coding}`], content)

/** What is refused, by what it tries. */
const refused: Readonly<Record<string, string>> = {
  "a length and chunks": post(["content-length: 5", "transfer-encoding: chunked"], `0\r\n\r\n${hidden}`),
  "chunks and a length": post(["transfer-encoding: chunked", "content-length: 5"], `0\r\n\r\n${hidden}`),
  "two lengths": post([length, "content-length: 5"]),
  "the same length twice": post([length, length]),
  "a list of lengths": post([`content-length: ${body.length}, ${body.length}`]),
  "a length with a sign": post([`content-length: +${body.length}`]),
  "a negative length": post(["content-length: -1"]),
  "a length in hexadecimal": post(["content-length: 0x1b"]),
  "a length without end": post(["content-length: 99999999999999999999999"]),
  "a length of nothing": post(["content-length: "]),
  "a folded header": post(["x-a: b", " content-length: 5", length]),
  "a folded first header": request("POST", "/v1/chat/completions", ["x-a:", "\tb", length], body),
  "lines that end in LF alone": post([length]).replaceAll("\r\n", "\n"),
  "one line that ends in LF alone": post(["x-a: b\nx-smuggled: 1", length]),
  "a CR in a value": post(["x-a: b\rx-smuggled: 1", length]),
  "a NUL in a value": post(["x-a: b\u0000c", length]),
  "a space before the colon": post(["transfer-encoding : chunked"], chunked),
  "a header without a colon": post(["x-smuggled", length]),
  "a name with a space in it": post(["x smuggled: 1", length]),
  "a coding that is not chunked": te("identity"),
  "a coding that is not known": te("xchunked"),
  "a coding behind chunked": te("chunked, identity"),
  "chunked twice in one header": te("chunked, chunked"),
  "chunked in two headers": post(["transfer-encoding: chunked", "transfer-encoding: chunked"], chunked),
  "a coding that nobody takes off": te("gzip, chunked"),
  "chunked behind a vertical tab": te("\u000bchunked"),
  "chunked in quotes": te('"chunked"'),
  "chunked with a parameter": te("chunked;a=b"),
  "chunks in HTTP/1.0": te("chunked").replace("HTTP/1.1", "HTTP/1.0"),
  "a chunk whose size is a word": te("chunked", `zz\r\n${body}\r\n0\r\n\r\n`),
  "a chunk of negative size": te("chunked", `-1\r\n${body}\r\n0\r\n\r\n`),
  "a chunk with 0x before its size": te("chunked", `0x1b\r\n${body}\r\n0\r\n\r\n`),
  "a chunk larger than all numbers": te("chunked", `fffffffffffffffffffff\r\n${body}\r\n0\r\n\r\n`),
  "a chunk that is longer than it says": te("chunked", `5\r\n${body}\r\n0\r\n\r\n`),
  "chunks whose lines end in LF alone": te("chunked", chunked.replaceAll("\r\n", "\n")),
  "a chunk extension of 40 KB": te("chunked", `1;${"a".repeat(40_000)}\r\n{\r\n0\r\n\r\n`),
  "no Host": get("/v1/files").replace("host: localhost\r\n", ""),
  "two Hosts": get("/v1/files", "host: evil.example"),
  "the same Host twice": get("/v1/files", "Host: localhost"),
  "a target that is no path": request("OPTIONS", "*"),
  "an authority as its target": get("localhost:80"),
  "a fragment in its target": get("/v1/files#a"),
  "HTTP/2 without saying so": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  "a version that does not exist": get("/v1/files").replace("HTTP/1.1", "HTTP/7.3"),
  "bytes above ASCII in its target": get("/v1/\u00ff"),
  "two dots": get("/v1/../secret"),
  "two dots at the end": get("/v1/files/.."),
  "encoded dots": get("/v1/%2e%2e/secret"),
  "half encoded dots": get("/v1/.%2E/secret"),
  "dots between encoded slashes": get("/v1/a%2f..%2Fsecret"),
  "dots between backslashes": get("/v1/a\\..\\secret"),
  "dots with a parameter": get("/v1/..;a=b/secret"),
  "one dot": get("/v1/./files"),
  "percent-encoding that is none": get("/v1/%zz"),
  "percent-encoding that is cut": get("/v1/%4"),
  "an encoded NUL": get("/v1/files%00"),
  "an encoded line end": get("/v1/files%0d%0ax-smuggled:1"),
  "an endpoint with a letter encoded": post([length]).replace("/chat", "/%63hat"),
  "an endpoint with a slash encoded": post([length]).replace("/chat/", "/chat%2f"),
  "an endpoint with two slashes": post([length]).replace("/chat/", "//chat/"),
  "an endpoint with a slash at its end": post([length]).replace("/completions", "/completions/"),
  "an endpoint in capitals": post([length]).replace("/chat", "/Chat"),
  "an endpoint with a parameter": post([length]).replace("/chat", "/chat;a=b"),
  "an endpoint behind a backslash": post([length]).replace("/chat/", "/chat\\")
}

const decodeError = Schema.decodeUnknownSync(
  Schema.fromJsonString(Schema.Struct({ error: Schema.Struct({ code: Schema.String, message: Schema.String }) }))
)

describe("a request that could be understood in two ways", () => {
  it.live("is refused in the form of all errors, its connection is closed, and nothing of it reaches a backend", () =>
    Effect.gen(function* () {
      const { recorder, url } = yield* setUp()
      for (const [what, bytes] of Object.entries(refused)) {
        const line = yield* exchange(url, bytes)
        assert.deepStrictEqual(line.statuses(), [400], what)
        const [, answer = ""] = line.received().split("\r\n\r\n")
        assert.strictEqual(decodeError(answer).error.code, "invalid_request", what)
        assert.match(line.received(), /\r\nconnection: close\r\n/i, what)
      }
      assert.deepStrictEqual(recorder.heard(), [])
      const served = yield* chat(url, { model: "m" })
      assert.deepStrictEqual([served.status, served.headers.get("x-weir-attempts")], [200, "1"])
    })
  )

  it.live("a request that is meant for a proxy is closed: no connection to anywhere is made", () =>
    Effect.gen(function* () {
      const { recorder, url } = yield* setUp()
      const host = new URL(recorder.url).host
      const line = yield* exchange(url, `CONNECT ${host} HTTP/1.1\r\nhost: ${host}\r\n\r\n${hidden}`)
      assert.deepStrictEqual(line.statuses(), [])
      assert.deepStrictEqual(recorder.heard(), [])
    })
  )
})

describe("a method that answers with the request that came", () => {
  it.live("is not passed on, since the backend's credential would come back with it", () =>
    Effect.gen(function* () {
      const { recorder, url } = yield* setUp()
      for (const method of ["TRACE", "trace", "Trace"]) {
        const line = yield* exchange(url, request(method, "/v1/files", ["connection: close"]))
        assert.deepStrictEqual(line.statuses(), [method === "TRACE" ? 405 : 400], method)
      }
      assert.deepStrictEqual(recorder.heard(), [])
    })
  )
})

describe("a request that is only unusual", () => {
  const unusual: Readonly<Record<string, string>> = {
    "chunk extensions": te("chunked", `${body.length.toString(16)};a=b;c\r\n${body}\r\n0;d\r\n\r\n`),
    trailers: te("chunked", `${body.length.toString(16)}\r\n${body}\r\n0\r\nx-smuggled: 1\r\n\r\n`),
    "a coding in capitals": te("CHUNKED"),
    "a tab before the coding": te("\tchunked"),
    "zeros before a chunk's size": te("chunked", `0000${chunked}`),
    "an offer to speak HTTP/2": post([
      "upgrade: h2c",
      "http2-settings: AAMAAABkAAQAAP__",
      "connection: upgrade",
      length
    ]),
    "a Connection header that names what must stay": post(["connection: close, content-length, host", length]),
    "names that every object has": post(["__proto__: x", "constructor: y", "tostring: z", length])
  }
  it.live("reaches the backend once, with one length, and without what is not for it", () =>
    Effect.gen(function* () {
      const { recorder, url } = yield* setUp()
      for (const [what, bytes] of Object.entries(unusual)) {
        recorder.forget()
        const line = yield* exchange(url, bytes.replace("\r\n", "\r\nconnection: close\r\n"))
        assert.deepStrictEqual(line.statuses(), [200], what)
        const [heard = "", ...more] = recorder.heard()
        assert.deepStrictEqual(more, [], what)
        const [top = "", ...rest] = heard.split("\r\n\r\n")
        assert.strictEqual(rest.join("\r\n\r\n"), body, what)
        assert.strictEqual(top.match(/^content-length: 27$/gim)?.length, 1, what)
        assert.strictEqual(top.match(/^host: /gim)?.length, 1, what)
        assert.notMatch(top, /^(transfer-encoding|upgrade|http2-settings|trailer|x-smuggled)\b/im, what)
      }
    })
  )

  it.live("a request whose target is a whole address is read as its path, whatever host it names", () =>
    Effect.gen(function* () {
      const { recorder, url } = yield* setUp()
      const line = yield* exchange(url, get("http://169.254.169.254/v1/files?a=b"))
      assert.deepStrictEqual(line.statuses(), [200])
      assert.match(recorder.heard().join(""), /^GET \/v1\/files\?a=b HTTP\/1\.1\r\nhost: 127\.0\.0\.1:\d+\r\n/)
      assert.notInclude(recorder.heard().join(""), "169.254")
    })
  )

  it.live("is not answered in the middle of another answer, whatever follows it", () =>
    Effect.gen(function* () {
      const chunk = 'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
      const stream = `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n${chunk}`
      const engines: Array<Socket> = []
      const { recorder, url } = yield* setUp({
        answer: (socket) => {
          engines.push(socket)
          socket.write(stream, "latin1")
        }
      })
      const asked = '{"model":"m","stream":true,"messages":[]}'
      yield* Effect.scoped(
        Effect.gen(function* () {
          const line = yield* connect(url)
          line.write(post([`content-length: ${asked.length}`], asked))
          yield* line.until(() => line.received().includes(chunk))
          line.write("no HTTP at all\r\n\r\n")
          for (const engine of engines) engine.end()
          yield* line.until(line.closed)
          // Cut at once, or refused behind the end of what came before.
          const [first = "", second] = line.received().split(/(?=HTTP\/1\.1 400)/)
          if (second === undefined) assert.notInclude(first, "\r\n0\r\n", "a cut stream must not look complete")
          else assert.isTrue(first.endsWith("\r\n0\r\n\r\n"), first)
          yield* eventually(
            Effect.sync(() => (recorder.open() === 0 ? true : undefined)),
            () => "the backend's connection closed"
          )
        })
      )
    })
  )

  it.live("a request with others behind it on its connection is answered in order, each with its own answer", () =>
    Effect.gen(function* () {
      const { recorder, url } = yield* setUp()
      const ids = Array.from({ length: 200 }, (_, n) => `pipelined-${n}`)
      const all = ids.map((id, n) =>
        n % 2 === 0 ? request("GET", "/healthz", [`x-request-id: ${id}`]) : post([length, `x-request-id: ${id}`])
      )
      const line = yield* exchange(url, `${all.join("")}${get("/healthz")}`)
      assert.deepStrictEqual(new Set(line.statuses()), new Set([200]))
      const answered = [...line.received().matchAll(/\r\nx-request-id: (pipelined-\d+)\r\n/g)].map(([, id]) => id)
      assert.deepStrictEqual(answered, ids)
      assert.strictEqual(recorder.heard().length, 100)
    })
  )
})
