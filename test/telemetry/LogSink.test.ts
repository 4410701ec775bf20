/** Lines that nothing reads: they are dropped and counted, and the first one that is read tells how many. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { LogOutput } from "../../src/telemetry/LogSink.ts"
import { AccessLog, LogSettings, layerLogs } from "../../src/telemetry/Logs.ts"

/** An output that has room for so many texts until it is read. */
const makeOutput = (room: number) => {
  const texts: Array<string> = []
  const readers = new Set<() => void>()
  let unread = 0
  const output: LogOutput = {
    write: (text) => {
      unread++
      texts.push(text)
    },
    hasRoom: () => unread < room,
    onRoom: (tell) => {
      readers.add(tell)
      return () => readers.delete(tell)
    }
  }
  const read = Effect.sync(() => {
    unread = 0
    for (const tell of readers) tell()
  })
  return { output, read, texts, readers }
}

const messages = (texts: ReadonlyArray<string>) =>
  texts
    .join("")
    .split("\n")
    .flatMap(
      (line): ReadonlyArray<{ message: string; dropped?: number; level: string }> =>
        line === "" ? [] : [JSON.parse(line)]
    )

describe("a log that nothing reads", () => {
  it.effect("holds no more than there is room for, and tells in one line how many were dropped when it is read", () => {
    const { output, read, texts } = makeOutput(2)
    return Effect.gen(function* () {
      for (let i = 0; i < 1000; i++) yield* Effect.logWarning(`line ${i}`)
      assert.lengthOf(texts, 2)
      yield* read
      yield* Effect.logWarning("after")
      const told = messages(texts).slice(2)
      assert.deepInclude(told[0], { level: "warn", dropped: 998 })
      assert.deepStrictEqual(
        told.slice(1).map(({ message }) => message),
        ["after"]
      )
    }).pipe(Effect.provide(layerLogs({ level: "info", format: "json" }, output)))
  })

  it.effect("counts the lines of requests too, and never makes them", () => {
    const { output, read, texts } = makeOutput(0)
    return Effect.gen(function* () {
      const access = yield* AccessLog
      for (let i = 0; i < 2048; i++) access.write("request", { path: "/" })
      assert.lengthOf(texts, 0)
      yield* read
      assert.lengthOf(texts, 0)
    }).pipe(Effect.provide(layerLogs({ level: "info", format: "json" }, output)))
  })

  it.effect("tells what was dropped even where nothing is logged afterwards, once for each time", () => {
    const { output, read, texts } = makeOutput(1)
    return Effect.gen(function* () {
      for (const count of [3, 5]) {
        for (let i = 0; i <= count; i++) yield* Effect.logError("x")
        yield* read
        yield* read
      }
      assert.deepStrictEqual(
        messages(texts).flatMap(({ dropped }) => dropped ?? []),
        [3, 5]
      )
    }).pipe(Effect.provide(layerLogs({ level: "info", format: "json" }, output)))
  })

  it.effect("tells it in the form that is configured, and is left alone when the program ends", () => {
    const { output, read, readers, texts } = makeOutput(1)
    return Effect.gen(function* () {
      yield* Effect.gen(function* () {
        const { change } = yield* LogSettings
        for (let i = 0; i < 3; i++) yield* Effect.logError("x")
        change({ level: "error", format: "pretty" })
        yield* read
        assert.match(texts.at(-1) ?? "", /^\S+ WARN {2}log lines were dropped.* dropped=2\n$/)
      }).pipe(Effect.provide(layerLogs({ level: "info", format: "json" }, output)))
      assert.strictEqual(readers.size, 0)
    })
  })
})
