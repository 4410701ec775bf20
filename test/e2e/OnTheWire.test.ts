/** What clients get, byte for byte: the same whether requests have a fiber or not, whoever reads and writes them. */
import type { Socket } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { connect, request } from "../hostile/Raw.ts"
import { setUp } from "../hostile/Rig.ts"

const json = '{"id":"c","choices":[{"finish_reason":"stop","message":{"role":"assistant","content":"ok"}}]}'

const answer = (status: string, headers: ReadonlyArray<string>, body: string) =>
  [`HTTP/1.1 ${status}`, ...headers, "connection: close", "", body].join("\r\n")

const sized = (status: string, body: string, ...headers: ReadonlyArray<string>) =>
  answer(status, [`content-length: ${body.length}`, ...headers], body)

const isJson = "content-type: application/json"

const event = (content: string) => `data: {"choices":[{"index":0,"delta":{"content":"${content}"}}]}\n\n`
const events = `${event("a").repeat(50)}data: [DONE]\n\n`

const long = (size: number) => `{"choices":[{"finish_reason":"stop","message":{"content":"${"a".repeat(size)}"}}]}`

const chunks = (...pieces: ReadonlyArray<string>) =>
  `${pieces.map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`).join("")}0\r\n\r\n`

/** What the engine says, by the name that the request has for it. */
const said: Readonly<Record<string, string>> = {
  whole: sized("200 OK", json, isJson),
  "whole-in-chunks": answer("200 OK", [isJson, "transfer-encoding: chunked"], chunks(json)),
  "whole-until-the-end": answer("200 OK", [isJson], json),
  empty: sized("200 OK", "", isJson),
  "created-with-cookies": sized("201 Created", json, isJson, "set-cookie: a=b", "set-cookie: c=d; path=/"),
  "no-content": answer("204 No Content", ["x-a: b"], ""),
  "reset-content": sized("205 Reset Content", ""),
  "unknown-status": sized("299 Something", json, isJson),
  stream: answer("200 OK", ["content-type: text/event-stream", "transfer-encoding: chunked"], chunks(events)),
  "stream-without-chunks": answer("200 OK", ["content-type: text/event-stream"], events),
  "cut-stream": answer("200 OK", ["content-type: text/event-stream"], event("a")),
  "of-20-kb": sized("200 OK", long(20_000), isJson),
  "of-70-kb": sized("200 OK", long(70_000), isJson),
  "of-3-mb": sized("200 OK", long(3_000_000), isJson),
  "of-3-mb-in-chunks": answer("200 OK", [isJson, "transfer-encoding: chunked"], chunks(long(3_000_000))),
  "cut-body": answer("200 OK", ["content-length: 1000", isJson], '{"choices":['),
  "high-bytes": sized("200 OK", json.replace("ok", "\u00c3\u00a9\u00ff"), isJson, "x-high: \u00e9\u00ff"),
  "headers-of-all-kinds": sized(
    "200 OK",
    json,
    isJson,
    "X-Upper: A",
    "x-twice: 1",
    "x-twice: 2",
    "keep-alive: timeout=1"
  ),
  "a-date": sized("200 OK", json, isJson, "date: Thu, 01 Jan 1970 00:00:00 GMT"),
  "a-redirect": sized("302 Found", "", "location: /elsewhere"),
  "not-modified": answer("304 Not Modified", ["etag: a"], ""),
  refused: sized("400 Bad Request", '{"error":{"message":"no","type":"a","param":null,"code":"b"}}', isJson),
  "not-found": sized("404 Not Found", '{"error":{"message":"no","code":"x"}}', isJson),
  "too-many": sized("429 Too Many Requests", "{}", isJson, "retry-after: 1"),
  "no-http": "garbage\r\n\r\n"
}

const ask = (name: string, body = `{"model":"m","stream":${name.includes("stream")},"messages":[]}`) =>
  request("POST", "/v1/chat/completions", [`x-request-id: ${name}`, isJson, `content-length: ${body.length}`], body)

const requests: Readonly<Record<string, string>> = {
  ...Object.fromEntries(Object.keys(said).map((name) => [name, ask(name)])),
  "no-json": ask("no-json", "{"),
  "no-model": ask("no-model", "{}"),
  "another-model": ask("another-model", '{"model":"\u00c3\u00a9\u00ff\\u20ac","messages":[]}'),
  "no-path": ask("no-path").replace("/v1/chat", "/v1/../chat"),
  "a-path": ask("whole").replace("/v1/chat/completions", "/v1/moderations"),
  "a-foreign-page": ask("a-foreign-page").replace("\r\n", "\r\norigin: https://evil.example\r\n")
}

const last = request("GET", "/healthz", ["connection: close"])

/** Chunks joined: where they end is how bytes came from the engine. */
const joined = (received: string): string => {
  const end = received.indexOf("\r\n\r\n")
  if (!/\r\ntransfer-encoding: chunked/i.test(received.slice(0, end))) return received
  let text = `${received.slice(0, end)}\r\n\r\nchunks:`
  let at = end + 4
  for (;;) {
    const size = Number.parseInt(received.slice(at, received.indexOf("\r\n", at)), 16)
    if (Number.isNaN(size)) return text
    const from = received.indexOf("\r\n", at) + 2
    text += received.slice(from, from + size)
    at = from + size + 2
    if (size === 0) return `${text}:end${received.slice(at)}`
  }
}

const timeless = (received: string): string =>
  received
    .replaceAll(/\r\nDate: (?!Thu, 01 Jan 1970)[^\r]*/gi, "\r\nDate: now")
    .replaceAll(/\r\nserver-timing: [^\r]*/gi, "\r\nserver-timing: then")

const answerAll = (socket: Socket, heard: string): void => {
  const name = /\r\nx-request-id: ([\w-]+)/i.exec(heard)?.[1] ?? ""
  socket.end(said[name] ?? sized("200 OK", json, isJson), "latin1")
}

/** Everything that comes back for each, on a connection of its own, and what follows it there. */
const wireOf = Effect.fnUntraced(function* (fastPath: boolean) {
  const { url } = yield* setUp({
    answer: answerAll,
    more: { server: { fastPath } }
  })
  const wire = new Map<string, string>()
  for (const [name, bytes] of Object.entries(requests)) {
    const line = yield* connect(url)
    line.write(bytes + last)
    yield* line.until(line.closed)
    const received = line.received()
    const healthz = received.lastIndexOf("HTTP/1.1 200 OK\r\n")
    const isFollowed = healthz > 0
    wire.set(name, timeless(joined(isFollowed ? received.slice(0, healthz) : received)) + (isFollowed ? "|" : ""))
  }
  return wire
})

describe("what is on the wire", () => {
  it.live(
    "is the same with and without a fiber, for every kind of answer",
    () =>
      Effect.gen(function* () {
        const plain = yield* Effect.scoped(wireOf(true))
        const fibers = yield* Effect.scoped(wireOf(false))
        for (const [name, bytes] of fibers) {
          assert.match(bytes, /^HTTP\/1\.1 \d{3} /, name)
          assert.strictEqual(plain.get(name), bytes, name)
        }
        assert.strictEqual(fibers.size, Object.keys(requests).length)
      }),
    120_000
  )
})

describe("what is on the wire when the grace is over", () => {
  // More of it than is held back.
  const half = long(1_200_000).slice(0, -10)
  const begun: Readonly<Record<string, string>> = {
    "a body of a known length": answer("200 OK", ["content-length: 2000000", isJson], half),
    "a body in chunks": answer("200 OK", [isJson, "transfer-encoding: chunked"], chunks(half).slice(0, -5)),
    "a stream": answer("200 OK", ["content-type: text/event-stream"], event("a")),
    nothing: ""
  }
  it.live.each(Object.keys(begun))("is one answer and no more: %s", (name) =>
    Effect.gen(function* () {
      const wireAtTheEnd = Effect.fnUntraced(function* (fastPath: boolean) {
        const { gateway, recorder, url } = yield* setUp({
          answer: (socket) => socket.write(begun[name] ?? "", "latin1"),
          more: { server: { fastPath, shutdownGrace: "300ms" } }
        })
        const line = yield* connect(url)
        line.write(ask(name === "a stream" ? "stream" : "whole"))
        yield* line.until(() => recorder.heard().length === 1)
        if (name === "a stream") yield* line.until(() => line.received().includes("\r\n\r\n"))
        else if (name !== "nothing") yield* line.until(() => line.received().length > half.length)
        yield* gateway.signal("SIGTERM")
        yield* line.until(line.closed)
        return timeless(joined(line.received()))
      })
      const plain = yield* Effect.scoped(wireAtTheEnd(true))
      assert.isAtMost(plain.match(/HTTP\/1\.1 /g)?.length ?? 0, 1, plain)
      assert.strictEqual(plain, yield* Effect.scoped(wireAtTheEnd(false)))
    })
  )
})
