/** How the measurements read and check answers: a mistake there would be a mistake in every figure. */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { makeReader } from "../bench/report/Book.ts"
import { summarize } from "../bench/Statistics.ts"
import { done, EventReader, eventBytes, finishEvent, tokenEvent } from "../bench/wire/Events.ts"
import { framingOf, MessageReader } from "../bench/wire/MessageReader.ts"
import { holdsFor } from "../Property.ts"

/** The same bytes in pieces. */
const cut = (bytes: Buffer, places: ReadonlyArray<number>): ReadonlyArray<Buffer> => {
  const edges = [0, ...places.toSorted((a, b) => a - b), bytes.length]
  return edges.slice(0, -1).map((from, index) => bytes.subarray(from, edges[index + 1]))
}

const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`

describe("the measurements' reader of HTTP", () => {
  it("finds counted and chunked messages on one connection, wherever they are cut", () => {
    const bytes = Buffer.from(
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello" +
        `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${chunk("abc")}${chunk("defg")}0\r\nx: y\r\n\r\n` +
        "HTTP/1.1 204 No Content\r\n\r\n" +
        "POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}"
    )
    holdsFor(fc.array(fc.nat(bytes.length), { maxLength: 30 }), (places) => {
      const bodies: Array<string> = []
      let body = ""
      const reader = new MessageReader({
        onHead: framingOf,
        onData: (data, from, to) => {
          body += data.toString("latin1", from, to)
        },
        onEnd: () => {
          bodies.push(body)
          body = ""
        }
      })
      for (const piece of cut(bytes, places)) reader.push(piece)
      assert.deepStrictEqual(bodies, ["hello", "abcdefg", "", "{}"])
      assert.isFalse(reader.isWithin)
    })
  })
})

describe("the measurements' reader of events", () => {
  it("finds every event with the moment of its sending, wherever they are cut", () => {
    const events = [tokenEvent(), tokenEvent(), finishEvent()]
    assert.deepStrictEqual(
      events.map((event) => event.length),
      [eventBytes, eventBytes, eventBytes]
    )
    const stamps = events.map((event) => Number(/"t":"(\d+)"/.exec(event)?.[1]))
    const bytes = Buffer.from(events.join("") + done)
    holdsFor(fc.array(fc.nat(bytes.length), { maxLength: 30 }), (places) => {
      const found: Array<number> = []
      const reader = new EventReader({ onEvent: (at) => found.push(at), onForeign: () => assert.fail("foreign") })
      for (const piece of cut(bytes, places)) reader.push(piece, 0, piece.length)
      assert.deepStrictEqual(found, stamps)
    })
  })

  it("notices what the upstream did not send", () => {
    let foreign = 0
    const reader = new EventReader({ onEvent: () => {}, onForeign: () => foreign++ })
    const bytes = Buffer.from(`${tokenEvent()}data: {"error":{"code":"upstream_truncated"}}\n\n`)
    reader.push(bytes, 0, bytes.length)
    assert.strictEqual(foreign, 1)
  })
})

describe("the figures of a run", () => {
  const note = (weir: ReadonlyArray<number>, bare: ReadonlyArray<number>) =>
    makeReader([
      {
        id: "case",
        section: "unary",
        subjects: {
          weir: weir.map((cpuMicros) => ({ cpuMicros })),
          bare: bare.map((cpuMicros) => ({ cpuMicros }))
        }
      }
    ])

  it("are compared round by round, so that a bad round of both is no difference", () => {
    const ratio = note([20, 200, 22], [10, 100, 10]).ratio("case", "weir", "bare", "cpuMicros")
    assert.deepStrictEqual([ratio?.median, ratio?.min, ratio?.max], [2, 2, 2.2])
  })

  it("are not compared where one side is missing", () => {
    assert.isUndefined(note([20], []).ratio("case", "weir", "bare", "cpuMicros"))
    assert.isUndefined(summarize([]))
  })
})
