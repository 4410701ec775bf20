import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { makeFaultBook } from "../../src/sim/FaultBook.ts"
import { decodeFaults, encodeFaults, type FaultSpec, isRequestFault } from "../../src/sim/Faults.ts"
import { makeRandom } from "../../src/sim/Random.ts"
import { brokenEvent } from "../../src/sim/Script.ts"

const bookOf = Effect.fnUntraced(function* (...specs: ReadonlyArray<FaultSpec>) {
  const book = makeFaultBook(makeRandom(1))
  const faults = yield* decodeFaults(specs)
  yield* book.replace(faults.filter(isRequestFault))
  return book
})

const chatHead = { path: "/v1/chat/completions", phase: "head", stream: false } as const
const chatBody = { path: "/v1/chat/completions", phase: "body", stream: false } as const

describe("flapping", () => {
  it.effect("is up first, then down, and so on, by the clock", () =>
    Effect.gen(function* () {
      const book = yield* bookOf({ kind: "flap", up: "3s", down: "2s" })
      const isDown = Effect.map(book.pick(chatHead), (fault) => fault !== undefined)
      const seconds = yield* Effect.replicateEffect(Effect.tap(isDown, TestClock.adjust("1 second")), 11)
      assert.strictEqual(seconds.map((down) => (down ? "d" : "u")).join(""), "uuudduuuddu")
    })
  )
})

describe("the choice of a fault", () => {
  it.effect("is the first in force that matches, and takes only its times down", () =>
    Effect.gen(function* () {
      const book = yield* bookOf({ kind: "reset", stream: true }, { kind: "gzip", times: 1 }, { kind: "silence" })
      const kinds = yield* Effect.replicateEffect(
        Effect.map(book.pick(chatBody), (fault) => fault?.kind),
        3
      )
      assert.deepStrictEqual(kinds, ["gzip", "silence", "silence"])
      assert.strictEqual((yield* book.pick({ ...chatBody, stream: true }))?.kind, "reset")
    })
  )

  it.effect("is made once for each request: on its head, or with its body", () =>
    Effect.gen(function* () {
      const early = yield* bookOf({ kind: "early_answer" })
      assert.strictEqual(yield* early.pick(chatBody), undefined)
      assert.strictEqual((yield* early.pick(chatHead))?.kind, "early_answer")
      const late = yield* bookOf({ kind: "reset" })
      assert.strictEqual(yield* late.pick(chatHead), undefined)
      assert.strictEqual((yield* late.pick(chatBody))?.kind, "reset")
    })
  )
})

describe("a fault's text", () => {
  it.effect("comes back as it was, durations in milliseconds", () =>
    Effect.gen(function* () {
      const faults = yield* decodeFaults({ kind: "stall", for: "1.5s", times: 2, path: "/v1" })
      assert.deepStrictEqual(yield* encodeFaults(faults), [{ kind: "stall", for: 1500, times: 2, path: "/v1" }])
    })
  )
})

describe("the broken event", () => {
  it("is one event that is no JSON", () => {
    assert.strictEqual(brokenEvent.split("\n\n").length, 2)
    assert.throws(() => JSON.parse(brokenEvent.slice("data: ".length)))
  })
})
