/** Requests that two readers could understand in two ways: refused, and nothing of them reaches a backend. */
import type { Socket } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { chat } from "../e2e/Ask.ts"
import { eventually } from "../e2e/Program.ts"
import { connect, exchange, request } from "./Raw.ts"
import { body, get, hidden, length, post, refused, unusual } from "./Requests.ts"
import { setUp } from "./Rig.ts"

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
