import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Fiber, Layer, Redacted, Schedule, Schema, Tracer } from "effect"
import { TestClock } from "effect/testing"
import type { Telemetry } from "../../src/domain/GatewayConfig.ts"
import type { LogOutput } from "../../src/telemetry/LogSink.ts"
import { AccessLog, LogSettings, layerLogs } from "../../src/telemetry/Logs.ts"

type Settings = Telemetry["logs"]

/** An output that is always read. */
const into = (texts: Array<string>): LogOutput => ({
  write: (text) => texts.push(text),
  hasRoom: () => true,
  onRoom: () => () => {}
})

const Line = Schema.fromJsonString(Schema.Record(Schema.String, Schema.Unknown))

/** What a program writes: the texts as they were handed over. */
const written = <A>(settings: Partial<Settings>, program: Effect.Effect<A, never, AccessLog>) =>
  Effect.suspend(() => {
    const texts: Array<string> = []
    const layer = layerLogs({ level: "info", format: "json", ...settings }, into(texts))
    return Effect.as(Effect.provide(program, layer), texts)
  })

/** The lines of a program's log, each read as the JSON object that it must be. */
const lines = <A>(program: Effect.Effect<A, never, AccessLog>, settings: Partial<Settings> = {}) =>
  Effect.flatMap(written(settings, program), (texts) => {
    const all = texts.join("")
    assert.isTrue(all === "" || all.endsWith("\n"))
    return Effect.orDie(Effect.forEach(all.split("\n").slice(0, -1), (line) => Schema.decodeUnknownEffect(Line)(line)))
  })

describe("a line of the log", () => {
  it.effect("is one JSON object with its time, its level and its message", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* lines(Effect.logInfo("hello", "world")), [
        { timestamp: "1970-01-01T00:00:01.000Z", level: "info", message: "hello world" }
      ])
    })
  )

  it.effect("has the fields that came with the message, and the annotations around it", () =>
    Effect.gen(function* () {
      const [line] = yield* lines(
        Effect.logInfo("hello", { backend: "a", count: 3 }).pipe(
          Effect.annotateLogs({ requestId: "r-1", backend: "outer" })
        )
      )
      assert.deepInclude(line, { message: "hello", backend: "a", count: 3, requestId: "r-1" })
    })
  )

  it.effect("stays one line whatever is in it", () =>
    Effect.gen(function* () {
      const text = 'one\ntwo\r\n"three"\u2028 \u0000 \ud83d\ude00'
      const [line, ...rest] = yield* lines(Effect.logInfo(text, { text }))
      assert.deepStrictEqual([line?.["message"], line?.["text"], rest], [text, text, []])
    })
  )

  it.effect("tells an error by its kind and message, never by its stack", () =>
    Effect.gen(function* () {
      const [line] = yield* lines(Effect.logError("failed", new RangeError("too far")))
      assert.deepInclude(line, {
        level: "error",
        message: "failed",
        error: { error: "RangeError", message: "too far" }
      })
    })
  )

  it.effect("tells the cause of a defect", () =>
    Effect.gen(function* () {
      const [line] = yield* lines(Effect.logError("failed", Cause.die(new Error("a bug with Bearer abcdefgh"))))
      assert.include(String(line?.["cause"]), "a bug with Bearer <redacted>")
      assert.strictEqual(line?.["message"], "failed")
    })
  )

  it.effect("names the trace that it belongs to", () =>
    Effect.gen(function* () {
      const span = Tracer.externalSpan({ traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331" })
      const [inside, outside] = yield* lines(
        Effect.andThen(Effect.withParentSpan(Effect.logInfo("in"), span), Effect.logInfo("out"))
      )
      assert.strictEqual(inside?.["traceId"], "0af7651916cd43dd8448eb211c80319c")
      assert.notProperty(outside, "traceId")
    })
  )

  it.effect("holds no secret, wherever it came from", () =>
    Effect.gen(function* () {
      const secret = "hunter2-hunter2"
      const texts = yield* written(
        {},
        Effect.gen(function* () {
          yield* Effect.logInfo(`Authorization: Bearer ${secret}`, { headers: { authorization: secret } })
          yield* Effect.logInfo("x", { password: secret, nested: [{ api_key: secret }] })
          yield* Effect.logInfo("x", Redacted.make(secret), { key: Redacted.make(secret) })
          yield* Effect.logError("x", new Error(`http://u:${secret}@h`), Cause.fail(`token=${secret}`))
          yield* Effect.annotateLogs(Effect.logInfo("x"), { clientSecret: secret })
          const access = yield* AccessLog
          access.write("request", { path: `/v1/models?api_key=${secret}`, token: secret })
        })
      )
      assert.notInclude(texts.join(""), secret)
      assert.lengthOf(texts.join("").trimEnd().split("\n"), 6)
    })
  )

  it.effect("is written whatever is handed over", () =>
    Effect.gen(function* () {
      const loop: Record<string, unknown> = {}
      loop["loop"] = loop
      const told = yield* lines(
        Effect.gen(function* () {
          yield* Effect.logInfo("big", { n: 12n, when: new Date(0) })
          yield* Effect.logInfo("loop", loop)
          yield* Effect.logInfo(undefined, null, 5, true, Symbol("s"))
        })
      )
      assert.deepInclude(told[0], { n: "12", when: "1970-01-01T00:00:00.000Z" })
      assert.strictEqual(told[1]?.["message"], "loop")
      assert.include(String(told[2]?.["message"]), "null 5 true")
    })
  )

  it.effect("says when, how grave and what, even where a field has the same name", () =>
    Effect.gen(function* () {
      const [line] = yield* lines(Effect.logWarning("real", { message: "other", level: "trace", timestamp: "never" }))
      assert.deepInclude(line, { message: "real", level: "warn", timestamp: "1970-01-01T00:00:00.000Z" })
    })
  )
})

describe("levels", () => {
  const everything = Effect.gen(function* () {
    yield* Effect.logTrace("trace")
    yield* Effect.logDebug("debug")
    yield* Effect.logInfo("info")
    yield* Effect.logWarning("warn")
    yield* Effect.logError("error")
    yield* Effect.logFatal("fatal")
  })
  for (const [level, count] of [
    ["trace", 6],
    ["debug", 5],
    ["info", 4],
    ["warn", 3],
    ["error", 2],
    ["none", 0]
  ] as const) {
    it.effect(`${count} of six levels are written at ${level}, each by its name`, () =>
      Effect.gen(function* () {
        const told = yield* lines(everything, { level })
        assert.lengthOf(told, count)
        for (const line of told) assert.strictEqual(line["level"], line["message"])
      })
    )
  }

  for (const [level, enabled] of [
    ["debug", true],
    ["info", true],
    ["warn", false],
    ["error", false],
    ["none", false]
  ] as const) {
    it.effect(`requests are ${enabled ? "" : "not "}logged at ${level}`, () =>
      Effect.gen(function* () {
        yield* written(
          { level },
          Effect.map(AccessLog, (access) => assert.strictEqual(access.enabled, enabled))
        )
      })
    )
  }
})

it.effect(
  "what is logged, and in which form, can be changed from the next line on, in fibers that run already too",
  () =>
    Effect.gen(function* () {
      const texts: Array<string> = []
      yield* Effect.gen(function* () {
        const settings = yield* LogSettings
        const access = yield* AccessLog
        const gate = yield* Deferred.make<void>()
        const early = yield* Effect.forkChild(Effect.andThen(Deferred.await(gate), Effect.logWarning("from before")), {
          startImmediately: true
        })
        yield* Effect.logInfo("one")
        settings.change({ level: "error", format: "pretty" })
        assert.isFalse(access.enabled)
        yield* Effect.logWarning("two")
        yield* Effect.logError("three")
        settings.change({ level: "debug", format: "json" })
        assert.isTrue(access.enabled)
        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.join(early)
        yield* Effect.logDebug("four")
      }).pipe(Effect.provide(layerLogs({ level: "info", format: "json" }, into(texts))))
      const told = texts.join("").trimEnd().split("\n")
      assert.deepStrictEqual(
        told.map((line) => /one|two|three|from before|four/.exec(line)?.[0]),
        ["one", "three", "from before", "four"]
      )
      assert.deepStrictEqual(
        told.map((line) => line.startsWith("{")),
        [true, false, true, true]
      )
    })
)

describe("writing", () => {
  it.live("is gathered for a moment, and then happens at once for all", () =>
    Effect.gen(function* () {
      const texts: Array<string> = []
      yield* Effect.gen(function* () {
        for (let i = 0; i < 5; i++) yield* Effect.logInfo(`line ${i}`)
        assert.deepStrictEqual(texts, [])
        yield* Effect.sync(() => texts.length > 0).pipe(
          Effect.repeat({ until: (is) => is, schedule: Schedule.spaced(5) })
        )
        assert.lengthOf(texts, 1)
        assert.lengthOf((texts[0] ?? "").trimEnd().split("\n"), 5)
      }).pipe(Effect.provide(layerLogs({ level: "info", format: "json" }, into(texts))))
    })
  )

  for (const [grave, log] of [
    ["a warning", Effect.logWarning],
    ["an error", Effect.logError],
    ["what is fatal", Effect.logFatal]
  ] as const) {
    it.effect(`does not wait with ${grave}, nor with what came before it`, () =>
      Effect.gen(function* () {
        const texts: Array<string> = []
        yield* Effect.gen(function* () {
          yield* Effect.logInfo("before")
          yield* log("now")
          assert.deepStrictEqual(
            texts.map((text) => text.trimEnd().split("\n").length),
            [2]
          )
        }).pipe(Effect.provide(layerLogs({ level: "info", format: "json" }, into(texts))))
      })
    )
  }

  it.effect("does not gather without end", () =>
    Effect.gen(function* () {
      const texts: Array<string> = []
      yield* Effect.gen(function* () {
        const access = yield* AccessLog
        for (let i = 0; i < 1000; i++) access.write(`request ${i}`, {})
        assert.lengthOf(texts, 1)
      }).pipe(Effect.provide(layerLogs({ level: "info", format: "json" }, into(texts))))
    })
  )

  it.effect("a request's line has the time when it happened, and its place among the others", () =>
    Effect.gen(function* () {
      const told = yield* lines(
        Effect.gen(function* () {
          yield* Effect.logInfo("one")
          const access = yield* AccessLog
          access.write("two", { path: "/v1/models" })
          yield* Effect.logInfo("three")
        })
      )
      assert.deepStrictEqual(
        told.map((line) => line["message"]),
        ["one", "two", "three"]
      )
      assert.closeTo(Date.parse(String(told[1]?.["timestamp"])), Date.now(), 10_000)
    })
  )

  it.effect("the last lines are written where a defect ends the process, too", () =>
    Effect.gen(function* () {
      const texts: Array<string> = []
      const before = process.listeners("exit")
      yield* Effect.gen(function* () {
        yield* Effect.logInfo("the last")
        const added = process.listeners("exit").filter((listener) => !before.includes(listener))
        for (const listener of added) Reflect.apply(listener, process, [1])
        assert.include(texts.join(""), "the last")
      }).pipe(Effect.provide(layerLogs({ level: "info", format: "json" }, into(texts))))
      assert.lengthOf(process.listeners("exit"), before.length)
    })
  )

  it.effect("the last lines are written before the program ends", () =>
    Effect.gen(function* () {
      const texts = yield* written({}, Effect.logInfo("stopped"))
      assert.lengthOf(texts, 1)
      assert.include(texts[0], "stopped")
    })
  )
})

describe("the pretty format", () => {
  it.effect("a line shows the time, the level, the message and the fields, on one line", () =>
    Effect.gen(function* () {
      const texts = yield* written(
        { format: "pretty" },
        Effect.andThen(
          Effect.logInfo("hello", { backend: "a", text: "with blanks", n: 3, apiKey: "abc", deep: { a: [1] } }),
          Effect.logWarning("careful")
        )
      )
      assert.deepStrictEqual(texts.join("").split("\n"), [
        '00:00:00.000 INFO  hello backend=a text="with blanks" n=3 apiKey=<redacted> deep={"a":[1]}',
        "00:00:00.000 WARN  careful",
        ""
      ])
    })
  )
})

it.effect("an access log that is off writes nothing and says so", () =>
  Effect.gen(function* () {
    const access = yield* AccessLog
    access.write("request", {})
    assert.isFalse(access.enabled)
  }).pipe(Effect.provide(Layer.fresh(AccessLog.layerOff)))
)
