import { createHash } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { hashInSlices, hashOf, isLongToHash } from "../../src/backend/BodyHash.ts"
import { Pieces, slicesOf } from "../../src/domain/Bytes.ts"

const mebibyte = 1024 * 1024
const long = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
  .toString("latin1")
  .repeat(20_000)

const cut = (text: string, at: ReadonlyArray<number>): Pieces => {
  const bytes = Buffer.from(text, "latin1")
  return new Pieces([0, ...at].map((from, i) => bytes.subarray(from, at[i] ?? bytes.length)))
}

describe("the hash of a body", () => {
  it.effect.each([
    ["at once", Buffer.from(long, "latin1")],
    ["in pieces", cut(long, [17, 17, 3_000_000, 3_000_001])],
    ["of nothing", new Uint8Array(0)],
    ["of pieces of nothing", new Pieces([])]
  ] as const)("is the same in slices, %s", ([, body]) =>
    Effect.gen(function* () {
      const text = body.length === 0 ? "" : long
      const expected = createHash("sha256").update(Buffer.from(text, "latin1")).digest("hex")
      assert.strictEqual(yield* hashInSlices(body), expected)
      assert.strictEqual(hashOf(body), expected)
      assert.strictEqual(isLongToHash(body), body.length > 0)
    })
  )

  it.live("lets the event loop go on while it is made", () =>
    Effect.gen(function* () {
      let turns = 0
      const count = () => {
        turns++
        handle = setImmediate(count)
      }
      let handle = setImmediate(count)
      yield* hashInSlices(Buffer.alloc(16 * mebibyte))
      clearImmediate(handle)
      assert.isAtLeast(turns, 15)
    })
  )
})

describe("slices", () => {
  it("are all bytes in their order, none of them longer than asked for", () => {
    const slices = [...slicesOf(cut(long, [5, 5, 70_000]), 65_536)]
    assert.isTrue(slices.every(({ length }) => length > 0 && length <= 65_536))
    assert.strictEqual(Buffer.concat(slices).toString("latin1"), long)
  })
})
