import { assert, describe, it } from "@effect/vitest"
import { restFor } from "../../src/backend/RetryAfter.ts"

describe("how long a backend rests", () => {
  it.each([
    ["seconds", { "retry-after": "7" }, 7000],
    ["seconds with a fraction", { "retry-after": "0.5" }, 500],
    ["nothing at all", { "retry-after": "0" }, 0],
    ["milliseconds", { "retry-after-ms": "250" }, 250],
    ["milliseconds before seconds", { "retry-after-ms": "250", "retry-after": "9" }, 250],
    ["a date", { "retry-after": "Wed, 21 Oct 2026 07:28:10 GMT", date: "Wed, 21 Oct 2026 07:28:00 GMT" }, 10_000],
    [
      "a date that has passed",
      { "retry-after": "Wed, 21 Oct 2026 07:28:00 GMT", date: "Wed, 21 Oct 2026 07:28:10 GMT" },
      0
    ]
  ])("is what it asks for in %s", (_, headers, expected) => {
    assert.deepStrictEqual(restFor(headers), { millis: expected, isAsked: true })
  })

  it.each([
    ["says nothing", {}],
    ["says nonsense", { "retry-after": "soon" }],
    ["says what only looks like a date", { "retry-after": "in 3" }],
    ["says less than nothing", { "retry-after": "-5" }],
    ["says it twice", { "retry-after": ["1", "2"] }],
    ["has a date that is none", { "retry-after": "Wed, 21 Oct 2026 07:28:10 GMT", date: "yesterday" }]
  ])("is a second where it %s", (_, headers) => {
    assert.deepStrictEqual(restFor(headers), { millis: 1000, isAsked: false })
  })

  it("is five minutes at most", () => {
    assert.strictEqual(restFor({ "retry-after": "86400" }).millis, 300_000)
    assert.strictEqual(restFor({ "retry-after-ms": "9".repeat(400) }).millis, 1000)
  })
})
