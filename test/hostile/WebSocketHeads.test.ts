/** Heads that ask for a WebSocket in a way in which it is not opened: refused as HTTP, and no backend hears of them. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { ask } from "../e2e/Ask.ts"
import { offer, sampleKey } from "../e2e/WebSockets.ts"
import { connect, exchange, request } from "./Raw.ts"
import { setUp } from "./Rig.ts"

const without = (text: string) => offer().replace(text, "")

/** What is wrong, what is sent, what status it gets, and what the message says. */
const refused: ReadonlyArray<readonly [string, string, number, string]> = [
  ["a body", `${offer("/v1/realtime", "content-length: 3")}abc`, 400, "body"],
  ["a body in chunks", `${offer("/v1/realtime", "transfer-encoding: chunked")}0\r\n\r\n`, 400, "body"],
  ["two Upgrade headers", offer("/v1/realtime", "upgrade: websocket"), 400, "proxy in front"],
  ["a protocol behind it", offer().replace("upgrade: websocket", "upgrade: websocket, h2c"), 400, "proxy in front"],
  ["a protocol before it", offer().replace("upgrade: websocket", "upgrade: h2c, websocket"), 400, "proxy in front"],
  ["a Connection that names none", offer().replace("connection: Upgrade", "connection: close"), 400, "proxy in front"],
  ["no Connection", without("connection: Upgrade\r\n"), 400, "proxy in front"],
  ["no Upgrade", without("upgrade: websocket\r\n"), 400, "proxy in front"],
  ["another version", offer().replace("version: 13", "version: 8"), 426, "13"],
  ["no version", without("sec-websocket-version: 13\r\n"), 400, "Sec-WebSocket-Version"],
  ["no key", without(`sec-websocket-key: ${sampleKey}\r\n`), 400, "Sec-WebSocket-Key"],
  ["a key that is too short", offer().replace(sampleKey, "c2hvcnQ="), 400, "Sec-WebSocket-Key"],
  ["two keys", offer("/v1/realtime", `sec-websocket-key: ${sampleKey}`), 400, "Sec-WebSocket-Key"],
  ["HTTP/1.0", offer().replace("HTTP/1.1", "HTTP/1.0"), 400, "HTTP/1.1"],
  ["another method", offer().replace("GET", "POST"), 405, "GET"],
  ["two models", offer("/v1/realtime?model=m&m%6fdel=n"), 400, "more than once"],
  ["two names of a model", offer("/v1/realtime?model=m&deployment=n"), 400, "more than once"],
  ["a path with dot segments", offer("/v1/%2e%2e/x"), 400, "dot segments"],
  ["two Hosts", offer("/v1/realtime", "host: b"), 400, "Host"]
]

describe("a request for a WebSocket", () => {
  it.live("an upgrade that is not a clean one is refused as HTTP, never passed on, nor what is behind it", () =>
    Effect.gen(function* () {
      const { recorder, url } = yield* setUp()
      for (const [what, bytes, status, word] of refused) {
        const line = yield* exchange(url, bytes + request("GET", "/v1/smuggled"))
        assert.deepStrictEqual(line.statuses(), [status], what)
        assert.include(line.received(), word, what)
        assert.match(line.received(), /"error":\{"message":/, what)
        assert.match(line.received(), /\r\nconnection: close\r\n/i, what)
        assert.strictEqual(/\r\nsec-websocket-version: 13\r\n/i.test(line.received()), status === 426, what)
      }
      assert.notInclude(recorder.heard().join(""), "realtime")
      assert.notInclude(recorder.heard().join(""), "smuggled")
    })
  )

  it.live("an upgrade behind a request that is still under way is refused after that one's answer", () =>
    Effect.gen(function* () {
      const { recorder, url } = yield* setUp()
      const line = yield* connect(url)
      line.write(request("GET", "/v1/files") + offer())
      yield* line.until(line.closed)
      assert.deepStrictEqual(line.statuses(), [200, 400])
      assert.include(line.received(), "still under way")
      assert.notInclude(recorder.heard().join(""), "realtime")
    })
  )

  it.live("an upgrade to another protocol than WebSocket stays a request like all others", () =>
    Effect.gen(function* () {
      const { recorder, url } = yield* setUp()
      for (const protocol of ["h2c", "TLS/1.0", "foo/2"]) {
        const upgrade = [`connection: Upgrade, close`, `upgrade: ${protocol}`]
        const body = '{"model":"m","messages":[]}'
        const post = request("POST", "/v1/chat/completions", [...upgrade, `content-length: ${body.length}`], body)
        for (const bytes of [request("GET", "/v1/files", upgrade), post]) {
          const line = yield* exchange(url, bytes)
          assert.deepStrictEqual(line.statuses(), [200], `${protocol} ${bytes}`)
        }
        assert.notInclude(recorder.heard().join(""), protocol)
      }
      assert.strictEqual((yield* ask(`${url}/healthz`)).status, 200)
    })
  )
})
