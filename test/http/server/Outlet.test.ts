import { Writable } from "node:stream"
import { assert, describe, it } from "@effect/vitest"
import { Outlet, sliceBytes } from "../../../src/http/server/Outlet.ts"
import { fc } from "../../registry/Properties.ts"

/** A response whose client takes a write at a time, when the test says so. */
class Client extends Writable {
  readonly taken: Array<Buffer> = []
  #next: (() => void) | undefined

  override _write(chunk: Buffer, _encoding: string, callback: () => void): void {
    this.#next = () => {
      this.taken.push(chunk)
      callback()
    }
  }

  /** Whether there was something to take. */
  async takeOne(): Promise<boolean> {
    const next = this.#next
    this.#next = undefined
    next?.()
    await new Promise((resolve) => setImmediate(resolve))
    return next !== undefined
  }
}

const piecesOf = (lengths: ReadonlyArray<number>): ReadonlyArray<Buffer> => {
  let at = 0
  return lengths.map((length) => {
    const piece = Buffer.from(Array.from({ length }, (_, index) => (at + index) % 251))
    at += length
    return piece
  })
}

const lengths = fc.array(
  fc.oneof(fc.integer({ min: 1, max: 1000 }), fc.constantFrom(sliceBytes, sliceBytes + 1, 3 * sliceBytes, 200_000)),
  { maxLength: 12 }
)

describe("a body on its way to its client", () => {
  it("arrives whole and in order, whether it is handed over at once or as the client is ready", () =>
    fc.assert(
      fc.asyncProperty(lengths, fc.boolean(), async (of, patient) => {
        const client = new Client()
        const outlet = new Outlet(client)
        const pieces = piecesOf(of)
        for (const piece of pieces) {
          if (outlet.write(piece) || !patient) continue
          const state = { isReady: false }
          outlet.onDrain(() => {
            state.isReady = true
          })
          while (!state.isReady) await client.takeOne()
        }
        while (await client.takeOne()) {
          // Goes on until all is taken.
        }
        assert.isTrue(outlet.isEmpty)
        assert.isTrue(Buffer.concat(client.taken).equals(Buffer.concat(pieces)))
      }),
      { numRuns: 60 }
    ))

  it("waits outside of the socket: of a large piece no more than a slice is with it", async () => {
    const client = new Client()
    const outlet = new Outlet(client)
    assert.isFalse(outlet.write(Buffer.alloc(10 * sliceBytes)))
    for (let n = 0; n < 10; n++) {
      assert.strictEqual(client.writableLength, sliceBytes)
      assert.strictEqual(outlet.isEmpty, n === 9)
      await client.takeOne()
    }
    assert.deepStrictEqual([client.writableLength, client.taken.length], [0, 10])
  })

  it("a small body is written at once", () => {
    const client = new Client()
    const outlet = new Outlet(client)
    assert.isTrue(outlet.write(Buffer.from("a")))
    assert.isTrue(outlet.write(Buffer.from("b")))
    assert.strictEqual(client.writableLength, 2)
  })

  it("is asked for more at once where more is taken", () => {
    let asked = 0
    new Outlet(new Client()).onDrain(() => asked++)
    assert.strictEqual(asked, 1)
  })
})
