/** Connections with the plainest requests, on the built program: over TLS, at its bounds, with failures, and at its end. */
import type { Socket } from "node:net"
import * as path from "node:path"
import * as tls from "node:tls"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { folderWith } from "../Folder.ts"
import { connect, request } from "../hostile/Raw.ts"
import { completion } from "../hostile/Recorder.ts"
import { setUp } from "../hostile/Rig.ts"
import { ca, server } from "../transport/Certificates.ts"
import { eventually } from "./Program.ts"

const ask = (fields: string, ...lines: ReadonlyArray<string>) => {
  const body = `{"model":"m",${fields}"messages":[]}`
  return request("POST", "/v1/chat/completions", [`content-length: ${body.length}`, ...lines], body)
}

const plain = ask("")

const folder = folderWith({ "cert.pem": server.cert, "key.pem": server.key })

/** What comes back for pieces that are sent one by one, each a record of its own, in one turn or in several. */
const overTls = (url: string, pieces: ReadonlyArray<string>, millis: number) =>
  Effect.promise(async () => {
    const socket = tls.connect({ port: Number(new URL(url).port), host: "127.0.0.1", servername: "localhost", ca })
    let received = ""
    socket.on("data", (chunk: Buffer) => {
      received += chunk.toString("latin1")
    })
    const closed = new Promise<void>((done) => socket.on("close", () => done()))
    await new Promise<void>((done) => socket.once("secureConnect", done))
    for (const piece of pieces) {
      socket.write(piece, "latin1")
      if (millis > 0) await new Promise((done) => setTimeout(done, millis))
    }
    await closed
    return received
  })

const statuses = (received: string) =>
  [...received.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status))

describe("plain requests over TLS", () => {
  it.live("are answered in their order, in whatever records they come and whoever reads them", () =>
    Effect.gen(function* () {
      const at = yield* folder
      const { gateway, recorder } = yield* setUpTls(at)
      const url = gateway.urlOf("tls")
      const all = `${plain}${plain}${request("GET", "/healthz")}${plain}${request("GET", "/healthz", ["connection: close"])}`
      const expected = [200, 200, 200, 200, 200]
      for (const size of [all.length, 1, 7, 100, plain.length, plain.length + 3]) {
        const pieces = all.match(new RegExp(`[^]{1,${size}}`, "g")) ?? []
        for (const millis of [0, 1]) {
          const received = yield* overTls(url, pieces, millis)
          assert.deepStrictEqual(statuses(received), expected, `${size} bytes, ${millis} ms`)
          assert.deepStrictEqual(
            [...received.matchAll(/"id":"c"|"status":/g)].map(([word]) => word.length),
            [8, 8, 9, 8, 9],
            received
          )
        }
      }
      assert.strictEqual(recorder.heard().length, 36)
    })
  )
})

const setUpTls = (at: string) =>
  setUp({
    second: { name: "tls", port: 0, tls: { cert: path.join(at, "cert.pem"), key: path.join(at, "key.pem") } }
  })

describe("a connection with plain requests", () => {
  it.live("goes on behind a failure, a refusal and a request that Node reads", () =>
    Effect.gen(function* () {
      const { recorder, url } = yield* setUp({
        answer: (socket, heard) => socket.end(heard.includes('"n":1') ? "garbage\r\n\r\n" : completion, "latin1")
      })
      const line = yield* connect(url)
      const said: Array<number> = []
      const say = Effect.fnUntraced(function* (bytes: string, status: number) {
        line.write(bytes)
        said.push(status)
        yield* line.until(() => line.statuses().length === said.length)
        assert.deepStrictEqual(line.statuses(), said)
      })
      yield* say(plain, 200)
      yield* say(ask('"n":1,'), 502)
      yield* say(plain, 200)
      yield* say(plain.replace('"m"', '"x"'), 404)
      yield* say(plain.replace("{", "["), 400)
      yield* say(plain, 200)
      yield* say(request("GET", "/healthz"), 200)
      yield* say(plain, 200)
      assert.isFalse(line.closed())
      assert.strictEqual(recorder.heard().filter((heard) => !heard.includes('"n":1')).length, 4)
    })
  )

  it.live("has the bounds of every connection: their number, and the bytes of a head", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp({
        listener: { name: "public", maxConnections: 3 },
        more: { limits: { maxHeaderBytes: 4096 } }
      })
      const one = yield* connect(url)
      one.write(ask("", `x-a: ${"a".repeat(3800)}`))
      yield* one.until(() => one.statuses().length === 1)
      one.write(ask("", `x-a: ${"a".repeat(3970)}`))
      yield* one.until(() => one.statuses().length === 2)
      one.write(ask("", `x-a: ${"a".repeat(5000)}`))
      yield* one.until(one.closed)
      assert.deepStrictEqual(one.statuses(), [200, 200, 431])
      const lines = yield* Effect.all(Array.from({ length: 6 }, () => connect(url)))
      for (const line of lines) line.write(plain)
      const open = () => lines.filter((line) => !line.closed())
      yield* Effect.forEach(lines, (line) => line.until(() => line.closed() || line.statuses().length === 1))
      assert.isAtMost(open().length, 3)
      assert.isAtLeast(open().length, 1)
      assert.isTrue(open().every((line) => line.statuses()[0] === 200))
    })
  )
})

describe("the end of the gateway", () => {
  it.live("lets plain connections finish what they have, and answers what comes in their last second", () =>
    Effect.gen(function* () {
      const engines: Array<Socket> = []
      const { gateway, recorder, url } = yield* setUp({
        answer: (socket, heard) => {
          if (heard.includes('"stream":true')) engines.push(socket)
          else socket.end(completion, "latin1")
        }
      })
      const lines = yield* Effect.all({
        idle: connect(url),
        late: connect(url),
        busy: connect(url),
        silent: connect(url)
      })
      const { busy, idle, late, silent } = lines
      idle.write(plain)
      late.write(plain)
      yield* idle.until(() => idle.statuses().length === 1)
      yield* late.until(() => late.statuses().length === 1)
      busy.write(ask('"stream":true,'))
      yield* busy.until(() => engines.length === 1)
      const event = (content: string) => `data: {"choices":[{"delta":{"content":"${content}"}}]}\n\n`
      engines[0]?.write(`HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n${event("a")}`)
      yield* busy.until(() => busy.received().includes('"a"'))

      yield* gateway.signal("SIGTERM")
      yield* eventually(
        Effect.sync(() => (gateway.stderr.join("").includes('"stopping"') ? true : undefined)),
        () => gateway.stderr.join("\n")
      )
      late.write(plain)
      yield* late.until(late.closed)
      assert.deepStrictEqual(late.statuses(), [200, 200])
      assert.match(late.received(), /connection: close/i)
      yield* idle.until(idle.closed)
      assert.deepStrictEqual(idle.statuses(), [200])
      yield* silent.until(silent.closed)
      assert.isFalse(busy.closed())
      engines[0]?.end(`${event("b")}data: [DONE]\n\n`)
      yield* busy.until(busy.closed)
      assert.match(busy.received(), /\[DONE\]\n\n\r\n0\r\n\r\n$/)
      assert.strictEqual(yield* gateway.ended, 0)
      assert.strictEqual(recorder.heard().length, 4)
    })
  )
})
