import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Sink, Stdio } from "effect"
import { TestClock } from "effect/testing"
import { withProgressBar } from "../../src/bench/ProgressBar.ts"

/** Four requests, the last of which fails, and what was written meanwhile. */
const shown = Effect.fnUntraced(function* (isTerminal: boolean) {
  const written: Array<string> = []
  const fiber = yield* Effect.forkChild(
    withProgressBar("sweeping", 4, (tell) =>
      Effect.gen(function* () {
        for (const succeeded of [true, true, true, false]) {
          tell(succeeded)
          yield* Effect.sleep("200 millis")
        }
        return "done"
      })
    ).pipe(
      Effect.provide(
        Stdio.layerTest({
          stderrIsTerminal: Effect.succeed(isTerminal),
          // oxlint-disable-next-line unicorn/no-array-for-each -- a sink is no array
          stderr: () => Sink.forEach((text) => Effect.sync(() => void written.push(String(text))))
        })
      )
    ),
    { startImmediately: true }
  )
  for (let request = 0; request < 4; request++) yield* TestClock.adjust("200 millis")
  return { result: yield* Fiber.join(fiber), written }
})

describe("the progress bar", () => {
  it.effect("grows with the requests, tells failures, and leaves a clean line", () =>
    Effect.gen(function* () {
      const { result, written } = yield* shown(true)
      assert.strictEqual(result, "done")
      const text = written.join("")
      assert.include(text, "sweeping [")
      assert.match(text, /\[#{7}-{23}\] 1\/4/)
      assert.match(text, /\[#{30}\] 4\/4, 1 failed/)
      assert.strictEqual(written.at(-1), "\r\u001b[K")
    })
  )

  it.effect("is not there where no terminal is", () =>
    Effect.gen(function* () {
      const { result, written } = yield* shown(false)
      assert.strictEqual(result, "done")
      assert.deepStrictEqual(written, [])
    })
  )
})
