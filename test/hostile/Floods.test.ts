/** More of everything than a client needs: heads, bodies, nesting. Refused early, in bounded memory. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { ask, chat, errorOf, post } from "../e2e/Ask.ts"
import { connect, head, request } from "./Raw.ts"
import { completion } from "./Recorder.ts"
import { memory, setUp } from "./Rig.ts"

const endpoint = "/v1/chat/completions"

const streamHead = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"

describe("a flood", () => {
  const heads: Readonly<Record<string, string>> = {
    "one endless header": `${head("GET", "/v1/files")}x-a: ${"a".repeat(400_000)}`,
    "an endless name of a header": `${head("GET", "/v1/files")}${"x".repeat(400_000)}`,
    "endless headers": head("GET", "/v1/files", ...Array.from({ length: 30_000 }, (_, n) => `x-${n}: a`)),
    "headers of nothing": head("GET", "/v1/files", ...Array.from({ length: 30_000 }, () => "x:")),
    "an endless path": `GET /${"a".repeat(400_000)} HTTP/1.1\r\n`,
    "an endless method": "A".repeat(400_000)
  }
  it.live("a flood of heads is refused at the limit, and none of it is kept", () =>
    Effect.gen(function* () {
      const { gateway, recorder, url } = yield* setUp()
      const before = yield* memory(gateway)
      for (const [what, bytes] of Object.entries(heads)) {
        for (let n = 0; n < 20; n++) {
          yield* Effect.scoped(
            Effect.gen(function* () {
              const line = yield* connect(url)
              line.write(bytes)
              yield* line.until(line.closed)
              assert.isTrue(
                line.statuses().every((status) => status === 431 || status === 400),
                what
              )
            })
          )
        }
      }
      assert.isBelow((yield* memory(gateway)) - before, 100, "MiB after 48 MB of heads")
      assert.deepStrictEqual(recorder.heard(), [])
      assert.strictEqual((yield* chat(url, { model: "m" })).status, 200)
    })
  )

  it.live("a flood of headers within the limit arrives whole: none is left out in silence", () =>
    Effect.gen(function* () {
      const { recorder, url } = yield* setUp({ more: { limits: { maxHeaderBytes: "64KiB" } } })
      const names = Array.from({ length: 4000 }, (_, n) => `x-${n}`)
      const line = yield* connect(url)
      line.write(`${head("GET", "/v1/files", ...names.map((name) => `${name}: 1`), "connection: close")}\r\n`)
      yield* line.until(line.closed)
      assert.deepStrictEqual(line.statuses(), [200])
      const heard = recorder.heard().join("")
      for (const name of names) assert.include(heard, `\r\n${name}: 1\r\n`)
    })
  )

  it.live("a flood of bodies without an end is cut at the limit, however it is announced", () =>
    Effect.gen(function* () {
      const { gateway, url } = yield* setUp({ more: { limits: { maxBodyBytes: "1MiB", maxUploadBytes: "1MiB" } } })
      const before = yield* memory(gateway)
      const piece = `10000\r\n${"a".repeat(65_536)}\r\n`
      for (const [path, type] of [
        [endpoint, "application/json"],
        ["/v1/files", "application/octet-stream"],
        ["/healthz", "text/plain"]
      ] as const) {
        for (let n = 0; n < 5; n++) {
          yield* Effect.scoped(
            Effect.gen(function* () {
              const line = yield* connect(url)
              line.write(`${head("POST", path, `content-type: ${type}`, "transfer-encoding: chunked")}\r\n`)
              for (let sent = 0; sent < 400; sent++) line.write(piece)
              yield* line.until(line.closed)
              assert.deepStrictEqual(line.statuses(), [path === "/healthz" ? 405 : 413], path)
            })
          )
        }
      }
      assert.isBelow((yield* memory(gateway)) - before, 150, "MiB after 390 MB of bodies")
    })
  )

  it.live("a flood of bodies that fit one by one is held to what they may take together", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp({
        listener: { connectTimeout: "30s" },
        more: { limits: { maxBodyBytes: "1MiB", maxBufferedBytes: "4MiB" } }
      })
      const half = "a".repeat(1_000_000)
      yield* Effect.scoped(
        Effect.gen(function* () {
          const lines = yield* Effect.all(Array.from({ length: 12 }, () => connect(url)))
          for (const line of lines) line.write(`${head("POST", endpoint, "content-length: 1048576")}\r\n${half}`)
          const refused = () => lines.filter((line) => line.statuses().length > 0)
          yield* (lines[0] ?? assert.fail()).until(() => refused().length >= 8)
          for (const line of refused()) {
            assert.deepStrictEqual(line.statuses(), [503])
            assert.match(line.received(), /\r\nretry-after: 1\r\n[^]*"code":"queue_full"/i)
          }
          assert.isAtLeast(lines.length - refused().length, 1, "who came first is not disturbed")
          assert.strictEqual((yield* chat(url, { model: "m" })).status, 200, "what is small still fits")
        })
      )
    })
  )

  it.live("a flood of long prompts is in memory until its answers begin, and not as long as they take", () =>
    Effect.gen(function* () {
      const { gateway, url } = yield* setUp({
        answer: (socket) => socket.write(`${streamHead}data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n`),
        more: { limits: { maxBodyBytes: "2MiB", maxBufferedBytes: "4MiB" } }
      })
      const before = yield* memory(gateway)
      const prompt = JSON.stringify({
        model: "m",
        stream: true,
        messages: [{ role: "user", content: "a".repeat(2e6) }]
      })
      const asked = request(
        "POST",
        endpoint,
        ["content-type: application/json", `content-length: ${prompt.length}`],
        prompt
      )
      yield* Effect.scoped(
        Effect.gen(function* () {
          for (let n = 0; n < 80; n++) {
            const line = yield* connect(url)
            line.write(asked)
            yield* line.until(() => line.received().includes('"a"'))
            assert.deepStrictEqual(line.statuses(), [200])
          }
          assert.isBelow((yield* memory(gateway)) - before, 125, "MiB beside 80 streams with prompts of 2 MB")
        })
      )
    })
  )

  it.live("a flood of requests on one connection, behind one that hangs, is not even read", () =>
    Effect.gen(function* () {
      const { gateway, url } = yield* setUp({
        answer: (socket, heard) => {
          if (!heard.includes("/stuck")) socket.end(completion, "latin1")
        }
      })
      const before = yield* memory(gateway)
      yield* Effect.scoped(
        Effect.gen(function* () {
          const lines = yield* Effect.all(Array.from({ length: 5 }, () => connect(url)))
          const flood = request("GET", "/healthz").repeat(100_000)
          for (const line of lines) line.write(request("GET", "/v1/stuck") + flood)
          yield* Effect.forEach([1, 2, 3], () =>
            Effect.gen(function* () {
              assert.strictEqual((yield* chat(url, { model: "m" })).status, 200)
              yield* Effect.sleep("300 millis")
            })
          )
          assert.isBelow((yield* memory(gateway)) - before, 150, "MiB behind 500,000 requests")
          for (const line of lines) assert.deepStrictEqual(line.statuses(), [], "in order, or not at all")
        })
      )
    })
  )

  it.live("a body full of brackets, commas or members, as large as may be, is read or refused, and given back", () =>
    Effect.gen(function* () {
      const { gateway, url } = yield* setUp({ more: { limits: { maxBodyBytes: "4MiB" } } })
      const size = 4 * 1024 * 1024 - 100
      const fill = (unit: string, from: string, to: string) => from + unit.repeat(Math.floor(size / unit.length)) + to
      const before = yield* memory(gateway)
      for (const [what, body, status] of [
        ["brackets", fill("[", '{"model":"m","x":', "}"), 400],
        ["nested lists", `{"model":"m","x":${"[".repeat(size / 4)}${"]".repeat(size / 4)}}`, 400],
        ["nested objects", `{"model":"m","x":${'{"a":'.repeat(size / 16)}1${"}".repeat(size / 16)}}`, 400],
        ["empty lists", fill("[],", '{"model":"m","x":[', "0]}"), 200],
        ["members of one name", fill('"a":0,', '{"model":"m",', '"b":0}'), 200],
        ["a number", fill("9", '{"model":"m","x":', "}"), 200],
        ["escapes", fill("\\u0041", '{"model":"m","x":"', '"}'), 200],
        ["models", fill('"model":"m",', "{", '"b":0}'), 400]
      ] as const) {
        const answer = yield* post(`${url}${endpoint}`, body)
        assert.deepStrictEqual([what, answer.status], [what, status])
        assert.strictEqual((yield* ask(`${url}/healthz`)).status, 200)
      }
      assert.isBelow((yield* memory(gateway)) - before, 600, "MiB")
    })
  )
})

describe("a body that is read in more than one way", () => {
  const utf16 = Buffer.from('{"model":"m"}', "utf16le")
  const bodies: Readonly<Record<string, readonly [body: Uint8Array, headers: Record<string, string>, code: string]>> = {
    compressed: [Buffer.from('{"model":"m"}'), { "content-encoding": "gzip" }, "invalid_request"],
    "of an unknown coding": [Buffer.from('{"model":"m"}'), { "content-encoding": "x" }, "invalid_request"],
    "in UTF-16": [utf16, { "content-type": "application/json; charset=utf-16" }, "invalid_json"],
    "in UTF-16 with a mark": [Buffer.concat([Buffer.from([0xff, 0xfe]), utf16]), {}, "invalid_json"],
    "in Latin-1": [Buffer.from('{"model":"\u00e9"}', "latin1"), {}, "invalid_json"],
    "with an overlong slash": [Buffer.from('{"model":"\u00c0\u00af"}', "latin1"), {}, "invalid_json"],
    "with a surrogate in UTF-8": [Buffer.from('{"model":"\u00ed\u00a0\u0080"}', "latin1"), {}, "invalid_json"],
    "with a NUL behind it": [Buffer.from('{"model":"m"}\u0000'), {}, "invalid_json"],
    "followed by another": [Buffer.from('{"model":"m"}{"model":"n"}'), {}, "invalid_json"],
    "with a comment": [Buffer.from('{"model":"m"/* n */}'), {}, "invalid_json"],
    "with NaN": [Buffer.from('{"model":"m","n":NaN}'), {}, "invalid_json"],
    "whose model is only inherited": [Buffer.from('{"__proto__":{"model":"m"}}'), {}, "model_required"],
    "whose model is hidden in a constructor": [
      Buffer.from('{"constructor":{"prototype":{"model":"m"}}}'),
      {},
      "model_required"
    ],
    "with two models": [Buffer.from('{"model":"m","model":"n"}'), {}, "invalid_request"],
    "with a second model in escapes": [Buffer.from('{"model":"m","\\u006dodel":"n"}'), {}, "invalid_request"]
  }
  it.live("is refused, and never reaches a backend", () =>
    Effect.gen(function* () {
      const { recorder, url } = yield* setUp()
      for (const [what, [body, headers, code]] of Object.entries(bodies)) {
        const answer = yield* ask(`${url}${endpoint}`, { method: "POST", body: new Uint8Array(body), headers })
        assert.deepStrictEqual([what, answer.status, errorOf(answer).code], [what, 400, code])
      }
      assert.deepStrictEqual(recorder.heard(), [])
      const served = yield* post(`${url}${endpoint}`, '{"model":"m","__proto__":{"a":1},"messages":[]}')
      assert.strictEqual(served.status, 200)
      assert.include(recorder.heard().join(""), '"__proto__":{"a":1}', "what we do not read passes as it is")
    })
  )
})
