/** The writer of plain requests against Node's, over real sockets: the same calls make the same bytes. */
import type { OutgoingHttpHeaders } from "node:http"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { OutgoingResponse } from "../../../src/http/Incoming.ts"
import { DateLine } from "../../../src/http/plain/PlainResponse.ts"
import { Outlet } from "../../../src/http/server/Outlet.ts"
import { connect, request } from "../../hostile/Raw.ts"
import { layerTime } from "../../Time.ts"
import { pause, setUpPlain, talk, timeless } from "./PlainRig.ts"

const post = (target: string) => request("POST", target, ["content-length: 0"])
const last = request("GET", "/last", ["connection: close"])

const big = Buffer.alloc(40_000, "b")

const answering = (
  status: number,
  headers: OutgoingHttpHeaders,
  write: (response: OutgoingResponse) => void = (response) => response.end()
) => ({ status, headers, write })

const answers = {
  "without a body": answering(200, {}),
  "of no length": answering(200, { "content-length": "0" }),
  text: answering(200, { "content-length": "2" }, (response) => response.end("ok", "latin1")),
  "text in chunks": answering(200, {}, (response) => response.end("ok", "latin1")),
  "text that is no Latin-1": answering(200, { "content-length": "6" }, (response) => response.end("\u00e9 \u20ac")),
  "text that is no Latin-1, in chunks": answering(200, {}, (response) => response.end("\u00e9\u20ac")),
  "text of high bytes": answering(200, { "content-length": "2" }, (response) => response.end("\u00e9\u00ff", "latin1")),
  bytes: answering(200, { "content-length": "3" }, (response) => response.end(Buffer.from([0, 128, 255]))),
  "many bytes": answering(200, { "content-length": "40000" }, (response) => response.end(big)),
  "many bytes in chunks": answering(200, {}, (response) => {
    response.write(big)
    response.write(Buffer.alloc(0))
    response.write(Buffer.from("a"))
    response.end(big)
  }),
  pieces: answering(200, { "content-type": "text/event-stream" }, (response) => {
    response.write(Buffer.from("one"))
    setTimeout(() => response.write(Buffer.from([255, 0])), 2)
    setTimeout(() => response.end(), 4)
  }),
  "of a status without a body": answering(204, { "x-a": "b" }, (response) => response.end(Buffer.from("no"))),
  "not modified": answering(304, { etag: "a", "content-length": "5" }),
  "a reset of the content": answering(205, {}),
  "an unknown status": answering(299, { "content-length": "0" }),
  "a last one": answering(200, { connection: "close", "content-length": "0" }),
  "a last one in chunks": answering(200, { connection: "close" }, (response) => response.end("ok", "latin1")),
  "cookies and high bytes": answering(200, {
    "set-cookie": ["a=b", "c=d"],
    "x-high": "\u00e9\u00ff\t",
    "content-length": "0"
  }),
  "a number": answering(200, { "content-length": "0", "x-a": 3 }),
  "a date of its own": answering(200, { date: "Thu, 01 Jan 1970 00:00:00 GMT", "content-length": "0" })
}

describe("an answer to a plain request", () => {
  it.live.each(Object.entries(answers))("is what Node would write: %s", ([, { headers, status, write }]) =>
    Effect.gen(function* () {
      const answer = ({ response, url }: { readonly response: OutgoingResponse; readonly url: string }) => {
        if (url === "/last") {
          response.writeHead(200, { "content-length": "0" })
          response.end()
          return
        }
        response.writeHead(status, { ...headers })
        write(response)
      }
      const plain = yield* setUpPlain({ answer })
      const node = yield* setUpPlain({ answer, nodeOnly: true })
      const said = yield* Effect.promise(() => talk(plain.port, [post("/a") + last]))
      assert.strictEqual(timeless(said), timeless(yield* Effect.promise(() => talk(node.port, [post("/a") + last]))))
      assert.deepStrictEqual(plain.taken, ["/a"])
      if (headers["date"] === undefined) assert.match(said, /\r\nDate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n/)
    }).pipe(Effect.provide(layerTime))
  )

  it.live("refuses a header that would end before its end", () =>
    Effect.gen(function* () {
      const { defects, port } = yield* setUpPlain({
        answer: ({ response }) => void response.writeHead(200, { "x-a": "b\r\nset-cookie: c" })
      })
      assert.strictEqual(yield* Effect.promise(() => talk(port, [post("/a")])), "")
      assert.strictEqual(defects.length, 1)
    }).pipe(Effect.provide(layerTime))
  )

  it.live.each(["/whole", "/streamed"])("waits for its client, which is slow, and comes whole: %s", (target) =>
    Effect.gen(function* () {
      const size = 8_000_000
      let waits = 0
      const { sockets, url } = yield* setUpPlain({
        answer: ({ response, url: asked }) => {
          response.writeHead(200, asked === "/whole" ? { "content-length": String(size) } : {})
          const outlet = new Outlet(response)
          let left = size / 100_000
          const pour = () => {
            while (left > 0) {
              left--
              if (outlet.write(Buffer.alloc(100_000, "x"))) continue
              waits++
              return outlet.onDrain(pour)
            }
            response.end()
          }
          pour()
        }
      })
      const line = yield* connect(url)
      line.stopReading()
      line.write(post(target))
      yield* Effect.promise(() => pause(100))
      const waiting = [...sockets][0]?.writableLength ?? 0
      assert.isAbove(waiting, 0)
      assert.isBelow(waiting, 200_000)
      line.goOnReading()
      yield* line.until(() => (line.received().match(/x/g)?.length ?? 0) === size)
      assert.isAbove(waits, 5)
      line.write(post("/streamed"))
      yield* line.until(() => line.statuses().length === 2)
    }).pipe(Effect.provide(layerTime))
  )
})

describe("the date of answers", () => {
  it("is made once a second, and anew when the clock is set back", () => {
    const date = new DateLine()
    const noon = Date.UTC(2026, 0, 1, 12)
    assert.strictEqual(date.at(noon + 999), "Date: Thu, 01 Jan 2026 12:00:00 GMT\r\n")
    assert.strictEqual(date.at(noon), "Date: Thu, 01 Jan 2026 12:00:00 GMT\r\n")
    assert.strictEqual(date.at(noon + 1000), "Date: Thu, 01 Jan 2026 12:00:01 GMT\r\n")
    assert.strictEqual(date.at(noon - 3_600_000), "Date: Thu, 01 Jan 2026 11:00:00 GMT\r\n")
  })
})
