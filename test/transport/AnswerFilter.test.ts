import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { AnswerFilter } from "../../src/transport/AnswerFilter.ts"
import { holdsFor } from "../Property.ts"

const bytes = (text: string) => Buffer.from(text, "latin1")

/** What comes through of these pieces. */
const through = (filter: AnswerFilter, pieces: ReadonlyArray<Buffer>): string =>
  Buffer.concat(pieces.flatMap((piece) => filter.take(piece) ?? [])).toString("latin1")

const interim = fc.constantFrom(
  "HTTP/1.1 100 Continue\r\n\r\n",
  "HTTP/1.1 100\r\n\r\n",
  "HTTP/1.0 100 Continue\r\nserver: x\r\n\r\n",
  "HTTP/1.1 102 Processing\r\n\r\n",
  "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nlink: </b.js>\r\n\r\n",
  "HTTP/1.1 110 Whatever\r\n\r\n",
  "HTTP/1.1 199 \n\n"
)
const final = fc.constantFrom(
  "HTTP/1.1 200 OK\r\ncontent-length: 27\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n..",
  "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n",
  "HTTP/1.1 204 No Content\r\n\r\n",
  "HTTP/1.0 408 Request Time-out\r\n\r\n",
  "HTTP/2 100 of another protocol\r\n\r\n",
  "no HTTP at all",
  "H",
  "\r\nHTTP/1.1 200 OK\r\n\r\n"
)

const cutInto = (text: string, cuts: ReadonlyArray<number>): ReadonlyArray<Buffer> => {
  const at = [0, ...cuts.map((cut) => cut % (text.length + 1)), text.length].toSorted((a, b) => a - b)
  return at.slice(1).map((end, i) => bytes(text.slice(at[i], end)))
}

describe("interim answers", () => {
  it("are left out, however many, however they are cut, and the answer comes through byte for byte", () => {
    const script = fc.record({
      interims: fc.array(interim, { maxLength: 5 }),
      answer: final.filter((text) => text.length > 12),
      cuts: fc.array(fc.nat(), { maxLength: 12 })
    })
    holdsFor(script, ({ answer, cuts, interims }) => {
      const filter = new AnswerFilter()
      assert.strictEqual(through(filter, cutInto(interims.join("") + answer, cuts)), answer)
    })
  })

  it("are left out before each answer on a connection, and what looks like one inside of a body stays", () => {
    holdsFor(fc.array(fc.tuple(fc.array(interim, { maxLength: 2 }), final), { maxLength: 4 }), (exchanges) => {
      const filter = new AnswerFilter()
      for (const [interims, answer] of exchanges.filter(([, text]) => text.length > 12)) {
        filter.awaitAnswer()
        assert.strictEqual(through(filter, [bytes(interims.join("") + answer)]), answer)
        const body = "HTTP/1.1 100 Continue\r\n\r\n"
        assert.strictEqual(through(filter, [bytes(body)]), body)
      }
    })
  })

  it("cost bounded memory: a head that never ends, or interim answers without end, come through to be refused", () => {
    for (const piece of ["x-more: and more\r\n", "HTTP/1.1 100 Continue\r\n\r\n"]) {
      const filter = new AnswerFilter()
      let taken = 0
      let passed = through(filter, [bytes("HTTP/1.1 100 Continue\r\n")])
      while (passed === "" && taken < 1_000_000) {
        taken += piece.length
        passed = through(filter, [bytes(piece)])
      }
      assert.isBelow(taken, 40_000, piece)
    }
  })

  it("are no answer: a connection that has brought nothing else has not served", () => {
    const filter = new AnswerFilter()
    filter.awaitAnswer()
    through(filter, [bytes("HTTP/1.1 100 Continue\r\n\r\n")])
    filter.awaitAnswer()
    assert.isFalse(filter.hasServed)
    through(filter, [bytes("HTTP/1.1 200 OK\r\n\r\n")])
    assert.isFalse(filter.hasServed)
    filter.awaitAnswer()
    assert.isTrue(filter.hasServed)
  })
})
