import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { TailBuffer } from "../../src/protocol/TailBuffer.ts"
import { holdsFor } from "../Property.ts"

describe("the bytes that are kept of a stream", () => {
  const pieces = fc.array(fc.uint8Array({ maxLength: 3000 }), { maxLength: 40 })

  it("are the latest ones, however they came", () => {
    holdsFor(fc.tuple(fc.integer({ min: 1, max: 2000 }), pieces), ([limit, all]) => {
      const kept = new TailBuffer(limit)
      let expected = Buffer.alloc(0)
      for (const piece of all) {
        kept.push(piece)
        expected = Buffer.concat([expected, piece]).subarray(-limit)
        assert.deepStrictEqual(Buffer.from(kept.latest()), Buffer.from(expected))
      }
    })
  })

  it("are copies: what became of the pieces makes no difference", () => {
    const kept = new TailBuffer(8)
    const piece = Buffer.from("abcd")
    kept.push(piece)
    piece.fill(0)
    assert.strictEqual(kept.latest().toString(), "abcd")
  })

  it("take no more memory than twice what is asked for", () => {
    const kept = new TailBuffer(4096)
    for (let n = 0; n < 1000; n++) kept.push(Buffer.alloc(100))
    assert.isAtMost(kept.latest().buffer.byteLength, 8192)
    assert.isAtMost(kept.size, 8192)
  })
})
