import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import {
  percentiles,
  quantile,
  requestsPerSecond,
  successRate,
  summarize,
  tokensPerSecond
} from "../../src/bench/Measurement.ts"
import type { Sample } from "../../src/bench/Sample.ts"
import { holdsFor } from "../Property.ts"
import { answered } from "./Samples.ts"

const failed = (reason: string, node = "unknown"): Sample => ({ _tag: "Failed", node, reason })

describe("percentiles", () => {
  it("are interpolated between the two values that they fall between", () => {
    assert.deepStrictEqual(percentiles([400, 100, 300, 200]), { p50: 250, p95: 385, p99: 397 })
    assert.deepStrictEqual(percentiles([7]), { p50: 7, p95: 7, p99: 7 })
    assert.isUndefined(percentiles([]))
  })

  it("lie within the values and never cross each other", () => {
    holdsFor(fc.array(fc.double({ min: 0, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 50 }), (values) => {
      const sorted = values.toSorted((a, b) => a - b)
      let before = sorted[0] ?? 0
      for (const p of [0, 0.25, 0.5, 0.95, 1]) {
        const value = quantile(sorted, p)
        assert.isAtLeast(value, before)
        before = value
      }
      assert.strictEqual(before, sorted.at(-1))
    })
  })
})

describe("a run", () => {
  const run = summarize(
    [
      answered(100, { firstToken: 30, gaps: [5, 7] }),
      answered(300, { firstToken: 50, node: "b", gaps: [9] }),
      failed("HTTP 503 queue_full"),
      failed("HTTP 429", "b"),
      failed("HTTP 503 queue_full")
    ],
    2
  )

  it("has the rates of what was answered, not of what was asked", () => {
    assert.strictEqual(requestsPerSecond(run), 1)
    assert.strictEqual(tokensPerSecond(run), 20)
    assert.strictEqual(successRate(run), 40)
    assert.deepStrictEqual(run.latency, { p50: 200, p95: 290, p99: 298 })
    assert.strictEqual(run.firstToken?.p50, 40)
    assert.strictEqual(run.interToken?.p50, 7)
  })

  it("tells which nodes answered and why requests failed, the commonest first", () => {
    assert.deepStrictEqual(Object.entries(run.nodes), [
      ["b", 2],
      ["unknown", 2],
      ["a", 1]
    ])
    assert.deepStrictEqual(Object.entries(run.failures), [
      ["HTTP 503 queue_full", 2],
      ["HTTP 429", 1]
    ])
  })

  it("a run in which nothing was answered has no percentiles, and rates of zero", () => {
    const empty = summarize([failed("connection refused")], 0)
    assert.isUndefined(empty.latency)
    assert.deepStrictEqual([requestsPerSecond(empty), tokensPerSecond(empty), successRate(empty)], [0, 0, 0])
  })

  it("says so when an engine did not count its tokens", () => {
    assert.isTrue(run.tokensCounted)
    assert.isFalse(summarize([answered(1), answered(1, { counted: false })], 1).tokensCounted)
  })
})
