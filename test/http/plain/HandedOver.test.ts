/** Plain requests that Effect's server, or Node's writer, goes on with: on the same connection, which stays as it is. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { NodeRequest } from "../../../src/http/Incoming.ts"
import { connect, request } from "../../hostile/Raw.ts"
import { layerTime } from "../../Time.ts"
import { type Asked, echo, pause, setUpPlain, talk, timeless } from "./PlainRig.ts"

const post = (target: string, body = "") => request("POST", target, [`content-length: ${body.length}`], body)

const last = request("GET", "/last", ["connection: close"])

/** Node's response where the plain reader has read the request. */
const nodesOf = ({ plain, response }: Asked): NodeRequest["response"] | Asked["response"] =>
  plain?.node().response ?? response

const later = (asked: Asked): void => {
  const response = nodesOf(asked)
  setTimeout(() => echo({ ...asked, response }), 2)
}

describe("a plain request that is handed over", () => {
  it.live("is answered in the same bytes, at once or later, and the next ones behind it", () =>
    Effect.gen(function* () {
      const answer = (asked: Asked) => {
        if (asked.url.startsWith("/later")) later(asked)
        else if (asked.url.startsWith("/node")) echo({ ...asked, response: nodesOf(asked) })
        else echo(asked)
      }
      const plain = yield* setUpPlain({ answer })
      const node = yield* setUpPlain({ answer, nodeOnly: true })
      const targets = ["/a", "/node", "/b", "/later", "/node", "/later", "/c"]
      const bytes = [...targets.map((target) => post(target, "body")), last]
      const expected = timeless(yield* Effect.promise(() => talk(node.port, bytes)))
      assert.strictEqual(timeless(yield* Effect.promise(() => talk(plain.port, bytes))), expected)
      assert.strictEqual(timeless(yield* Effect.promise(() => talk(plain.port, [bytes.join("")]))), expected)
      assert.strictEqual(plain.taken.length, 14)
    }).pipe(Effect.provide(layerTime))
  )

  it.live("leaves nothing behind on a connection that is used again and again", () =>
    Effect.gen(function* () {
      const { sockets, url } = yield* setUpPlain({ answer: (asked) => echo({ ...asked, response: nodesOf(asked) }) })
      const line = yield* connect(url)
      for (let n = 1; n <= 50; n++) {
        line.write(post(`/${n}`))
        yield* line.until(() => line.statuses().length === n)
      }
      const [socket] = [...sockets]
      for (const event of ["data", "drain", "close", "error", "end", "timeout"]) {
        assert.isAtMost(socket?.listenerCount(event) ?? 0, 3, event)
      }
    }).pipe(Effect.provide(layerTime))
  )

  it.live("can be long, and is written as its client takes it", () =>
    Effect.gen(function* () {
      const size = 20_000_000
      let drained = 0
      const { sockets, url } = yield* setUpPlain({
        answer: (asked) => {
          if (asked.url !== "/long") return echo(asked)
          const response = nodesOf(asked)
          response.writeHead(200, { "content-length": String(size) })
          let left = size
          const go = () => {
            while (left > 0) {
              left -= 20_000
              if (!response.write(Buffer.alloc(20_000))) {
                response.once("drain", () => {
                  drained++
                  go()
                })
                return
              }
            }
            response.end()
          }
          go()
        }
      })
      const line = yield* connect(url)
      line.write(post("/long") + post("/next"))
      yield* Effect.promise(() => pause(1))
      assert.isBelow([...sockets][0]?.writableLength ?? 0, 100_000)
      yield* line.until(() => line.statuses().length === 2)
      yield* line.until(() => line.received().endsWith("/next "))
      assert.isAbove(drained, 10)
      assert.isAbove(line.received().length, size)
    }).pipe(Effect.provide(layerTime))
  )

  it.live("whose answer is the last closes its connection, and nothing behind it is asked for", () =>
    Effect.gen(function* () {
      const { port, taken } = yield* setUpPlain({
        answer: (asked) => {
          const response = nodesOf(asked)
          response.writeHead(503, { "content-length": "2", connection: "close" })
          response.end("no", "latin1")
        }
      })
      assert.match(
        yield* Effect.promise(() => talk(port, [post("/a") + post("/b")])),
        /^HTTP\/1\.1 503 [^]*\r\n\r\nno$/
      )
      assert.deepStrictEqual(taken, ["/a"])
    }).pipe(Effect.provide(layerTime))
  )

  it.live("is told that its client has left, and can break its connection", () =>
    Effect.gen(function* () {
      const told: Array<string> = []
      const { sockets, url } = yield* setUpPlain({
        answer: (asked) => {
          const response = nodesOf(asked)
          response.once("close", () => told.push(`${asked.url} ${response.writableEnded}`))
          if (asked.url === "/break") response.destroy()
        }
      })
      const line = yield* connect(url)
      line.write(post("/wait"))
      yield* Effect.promise(() => pause(30))
      line.reset()
      yield* line.until(() => told.length === 1)
      const second = yield* connect(url)
      second.write(post("/break"))
      yield* second.until(second.closed)
      assert.deepStrictEqual(told, ["/wait false", "/break false"])
      yield* second.until(() => sockets.size === 0)
    }).pipe(Effect.provide(layerTime))
  )

  it.live("in the middle of its answer gets nothing from Node's writer", () =>
    Effect.gen(function* () {
      const { port } = yield* setUpPlain({
        answer: (asked) => {
          if (asked.plain === undefined) return echo(asked)
          const { plain, response } = asked
          response.writeHead(200, { "content-length": "10" })
          response.write(Buffer.from("first"))
          const { response: nodes } = plain.node()
          assert.isTrue(nodes.headersSent)
          assert.isTrue(nodes.writableEnded)
          setTimeout(() => response.end("later", "latin1"), 5)
        }
      })
      const received = yield* Effect.promise(() => talk(port, [post("/a") + last]))
      assert.match(received, /\r\n\r\nfirstlaterHTTP\/1\.1 200 OK\r\n/)
    }).pipe(Effect.provide(layerTime))
  )

  it.live("behind the end of its answer does not take the place of the next", () =>
    Effect.gen(function* () {
      const { port } = yield* setUpPlain({
        answer: (asked) => {
          if (asked.url !== "/a") return void setTimeout(() => echo(asked), 5)
          echo(asked)
          setTimeout(() => asked.plain?.node(), 3)
        }
      })
      const received = yield* Effect.promise(() => talk(port, [post("/a") + post("/b") + last]))
      assert.deepStrictEqual(received.match(/\r\n\r\n\/\w+ /g), ["\r\n\r\n/a ", "\r\n\r\n/b ", "\r\n\r\n/last "])
    }).pipe(Effect.provide(layerTime))
  )
})
