import { assert, describe, it } from "@effect/vitest"
import { LatencyTrack } from "../../src/registry/LatencyTrack.ts"
import { fc } from "./Properties.ts"

const trackOf = (samples: ReadonlyArray<number>): LatencyTrack => {
  const track = new LatencyTrack()
  for (const [index, sample] of samples.entries()) track.record(sample, index)
  return track
}

const millis = fc.double({ min: 0, max: 600_000, noNaN: true })
const samples = fc.array(millis, { minLength: 1, maxLength: 700, size: "max" })

/** By the definition: sort, and interpolate between the two neighbours of the rank. */
const percentile = (values: ReadonlyArray<number>, share: number): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const rank = share * (sorted.length - 1)
  const below = sorted[Math.floor(rank)] ?? 0
  const above = sorted[Math.ceil(rank)] ?? 0
  return below + (above - below) * (rank - Math.floor(rank))
}

describe("a latency track", () => {
  it("shows zeros before its first sample", () => {
    const track = new LatencyTrack()
    assert.deepStrictEqual([track.average, track.count, ...track.percentiles(0, 0.5, 0.99, 1)], [0, 0, 0, 0, 0, 0])
  })

  it("takes the first sample as it is and a fifth of each later one", () => {
    const track = trackOf([100])
    assert.strictEqual(track.average, 100)
    track.record(200, 7)
    assert.strictEqual(track.average, 120)
    track.record(20, 9)
    assert.strictEqual(track.average, 100)
    assert.deepStrictEqual([track.count, track.lastAt], [3, 9])
  })

  it("has a steady average that single samples hardly move, and to which the first ones count alike", () => {
    const track = trackOf([100, 200, 300])
    assert.approximately(track.steady, 200, 1e-9)
    const long = trackOf([...Array.from({ length: 100 }, () => 100), 1100])
    assert.approximately(long.steady, 130, 1e-9)
    assert.approximately(long.average, 300, 1e-9)
  })

  it("tells the median of its newest samples, of as many as are asked for and there", () => {
    assert.strictEqual(trackOf([]).recent(5), 0)
    assert.strictEqual(trackOf([900, 10, 30, 20]).recent(3), 20)
    assert.strictEqual(trackOf([10, 20]).recent(5), 15)
    const track = trackOf(Array.from({ length: 300 }, (_, index) => index))
    assert.deepStrictEqual([track.recent(1), track.recent(5), track.recent(1000)], [299, 297, 171.5])
  })

  it("gets over a slow start: what was long ago hardly counts", () => {
    const track = trackOf([60_000, ...Array.from({ length: 60 }, () => 50)])
    assert.closeTo(track.average, 50, 1)
  })

  it("interpolates percentiles as people expect them", () => {
    assert.deepStrictEqual(trackOf([10, 20, 30, 40]).percentiles(0.5, 0.95, 0, 1), [25, 38.5, 10, 40])
    assert.deepStrictEqual(trackOf([7]).percentiles(0, 0.5, 1), [7, 7, 7])
  })

  it("tells the percentiles of its last 256 samples and of nothing older", () => {
    fc.assert(
      fc.property(samples, fc.double({ min: 0, max: 1, noNaN: true }), (values, share) => {
        const recent = values.slice(-256)
        const [told] = trackOf(values).percentiles(share)
        assert.closeTo(told ?? Number.NaN, percentile(recent, share), 1e-6)
      })
    )
  })

  it("keeps percentiles in order and every figure between the extremes", () => {
    fc.assert(
      fc.property(samples, (values) => {
        const track = trackOf(values)
        const recent = values.slice(-256)
        const told = track.percentiles(0, 0.5, 0.75, 0.9, 0.95, 0.99, 1)
        assert.deepStrictEqual(
          told,
          told.toSorted((a, b) => a - b)
        )
        assert.strictEqual(told[0], Math.min(...recent))
        assert.strictEqual(told.at(-1), Math.max(...recent))
        assert.isAtLeast(track.average, Math.min(...values) - 1e-6)
        assert.isAtMost(track.average, Math.max(...values) + 1e-6)
        assert.strictEqual(track.count, values.length)
      })
    )
  })
})
