import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { closeFrame, FrameTracker } from "../../src/protocol/WebSocketFrames.ts"
import { holdsFor } from "../Property.ts"

interface Frame {
  readonly opcode: number
  readonly masked: boolean
  readonly length: number
}

/** As RFC 6455, 5.2, has it. */
const encoded = ({ length, masked, opcode }: Frame): Buffer => {
  const head = [0x80 | opcode]
  const flag = masked ? 0x80 : 0
  if (length < 126) head.push(flag | length)
  else if (length < 65_536) head.push(flag | 126, length >> 8, length & 0xff)
  else head.push(flag | 127, 0, 0, 0, 0, length >>> 24, (length >> 16) & 0xff, (length >> 8) & 0xff, length & 0xff)
  const payload = Buffer.alloc(length, 0xff)
  return Buffer.concat([Buffer.from(head), masked ? Buffer.from([1, 2, 3, 4]) : Buffer.alloc(0), payload])
}

const frames = fc.array(
  fc.record({
    opcode: fc.constantFrom(0, 1, 2, 9, 10),
    masked: fc.boolean(),
    length: fc.oneof(fc.constantFrom(0, 1, 125, 126, 127, 65_535, 65_536, 70_000), fc.nat(300))
  }),
  { minLength: 1, maxLength: 6 }
)

describe("the frames of a WebSocket", () => {
  it("are seen to end exactly where they do, in whatever pieces they come", () => {
    const cases = fc.record({ frames, cuts: fc.array(fc.nat(), { maxLength: 20 }) })
    holdsFor(cases, ({ cuts, frames: all }) => {
      const tracker = new FrameTracker()
      const bytes = Buffer.concat(all.map(encoded))
      const ends = new Set(all.map((_, i) => Buffer.concat(all.slice(0, i + 1).map(encoded)).length))
      const places = [...cuts.map((cut) => cut % bytes.length), bytes.length].toSorted((a, b) => a - b)
      let at = 0
      for (const place of places) {
        tracker.push(bytes.subarray(at, place))
        at = place
        assert.strictEqual(tracker.atBoundary, place === 0 || ends.has(place), `at ${place} of ${[...ends].join()}`)
      }
      assert.isFalse(tracker.closed)
    })
  })

  it.each([true, false])("are over with a close frame, masked: %s", (masked) => {
    const tracker = new FrameTracker()
    const bytes = closeFrame(1001, "the reason", masked)
    for (const byte of bytes.subarray(0, -1)) tracker.push(Buffer.from([byte]))
    assert.isFalse(tracker.atBoundary)
    tracker.push(bytes.subarray(-1))
    assert.isTrue(tracker.atBoundary && tracker.closed)
  })
})

describe("a close frame", () => {
  it("says its code and its reason, and hides them under a mask where a client sends it", () => {
    const plain = closeFrame(1012, "bye", false)
    assert.deepStrictEqual([...plain], [0x88, 5, 3, 0xf4, 0x62, 0x79, 0x65])
    const masked = closeFrame(1012, "bye", true)
    assert.deepStrictEqual([...masked.subarray(0, 2)], [0x88, 0x85])
    const mask = masked.subarray(2, 6)
    const shown = masked.subarray(6).map((byte, i) => byte ^ (mask[i % 4] ?? 0))
    assert.deepStrictEqual([...shown], [...plain.subarray(2)])
  })
})
