import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import { MonotonicClock } from "../../src/domain/MonotonicClock.ts"
import { type BodyBounds, HeldBodies, HeldBody } from "../../src/http/BodyReading.ts"
import { hasBody, packed, readBody, readUpload, streamBody } from "../../src/http/RequestBody.ts"
import { Timers } from "../../src/resilience/Timers.ts"
import { layerTime } from "../Time.ts"
import { incoming } from "./Requests.ts"

const bounds: BodyBounds = { limit: 10, uploadLimit: 20, patience: 1000, together: 25 }

/** A body under way, as one request reads it. */
const reading = Effect.fnUntraced(function* (all = new HeldBodies(), headers: Record<string, string> = {}) {
  const request = incoming({ method: "POST", headers })
  const held = new HeldBody(all)
  const services = { clock: yield* MonotonicClock, timers: yield* Timers }
  const fiber = yield* readBody(request, bounds, services, held).pipe(
    Effect.match({ onSuccess: (body) => Buffer.from(body).toString(), onFailure: ({ code }) => code }),
    Effect.forkChild({ startImmediately: true })
  )
  return {
    request,
    push: (text: string | null) =>
      Effect.andThen(
        Effect.sync(() => request.message.push(text === null ? null : Buffer.from(text))),
        Effect.yieldNow
      ),
    fiber,
    /** The body, or the code of the refusal. */
    outcome: Fiber.join(fiber),
    over: Effect.sync(() => held.letGo())
  }
})

describe("a body", () => {
  it.effect("is read to its end, in one piece", () =>
    Effect.gen(function* () {
      const { outcome, push } = yield* reading()
      for (const piece of ["ab", "cd", null]) yield* push(piece)
      assert.strictEqual(yield* outcome, "abcd")
    }).pipe(Effect.provide(layerTime))
  )

  it.effect("is refused as soon as it is longer than the limit, however it was announced", () =>
    Effect.gen(function* () {
      const { outcome, push } = yield* reading()
      for (const piece of ["12345", "67890", "1"]) yield* push(piece)
      assert.strictEqual(yield* outcome, "request_too_large")
      const announced = yield* reading(new HeldBodies(), { "content-length": "11" })
      assert.strictEqual(yield* announced.outcome, "request_too_large")
    }).pipe(Effect.provide(layerTime))
  )

  it.effect("may take as long as it likes while it comes, and not longer than the patience when it does not", () =>
    Effect.gen(function* () {
      const { fiber, outcome, push } = yield* reading()
      for (const piece of ["1", "2", "3"]) {
        yield* TestClock.adjust("900 millis")
        yield* push(piece)
      }
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1100 millis")
      assert.strictEqual(yield* outcome, "request_timeout")
    }).pipe(Effect.provide(layerTime))
  )

  it.effect("a body that breaks off is the client's fault", () =>
    Effect.gen(function* () {
      const { outcome, push, request } = yield* reading()
      yield* push("1")
      request.message.destroy(new Error("gone"))
      assert.strictEqual(yield* outcome, "invalid_request")
    }).pipe(Effect.provide(layerTime))
  )
})

describe("a connection that breaks", () => {
  it.effect("a connection whose body is no longer read may break without taking the process with it", () =>
    Effect.gen(function* () {
      const { fiber, push, request } = yield* reading()
      yield* push("1")
      yield* Fiber.interrupt(fiber)
      assert.doesNotThrow(() => request.message.emit("error", new Error("aborted")))
      const streamed = incoming({ method: "POST" })
      yield* streamBody(streamed, Stream.empty, bounds)
      assert.doesNotThrow(() => streamed.message.emit("error", new Error("aborted")))
    }).pipe(Effect.provide(layerTime))
  )
})

describe("the bodies in memory", () => {
  it.effect("are counted from their first byte until their requests are over, and never fit more than they may", () =>
    Effect.gen(function* () {
      const held = new HeldBodies()
      const first = yield* reading(held)
      yield* first.push("1234567890")
      yield* first.push(null)
      yield* first.outcome
      const second = yield* reading(held)
      yield* second.push("1234567890")
      const third = yield* reading(held)
      yield* third.push("123456")
      assert.strictEqual(yield* third.outcome, "queue_full")
      assert.isUndefined(second.fiber.pollUnsafe(), "who came before is not disturbed")
      yield* third.over
      assert.strictEqual(held.bytes, 20)
      yield* first.over
      const fourth = yield* reading(held)
      yield* fourth.push("123456")
      yield* fourth.push(null)
      assert.strictEqual(yield* fourth.outcome, "123456")
      yield* Effect.andThen(Fiber.interrupt(second.fiber), second.over)
      yield* fourth.over
      assert.strictEqual(held.bytes, 0)
    }).pipe(Effect.provide(layerTime))
  )
})

describe("what is said of a body beforehand", () => {
  it.effect("may be that it is too large: it is refused before a byte of it is read, with the setting's name", () =>
    Effect.gen(function* () {
      const announced = (bytes: number) => incoming({ method: "POST", headers: { "content-length": String(bytes) } })
      const services = { clock: yield* MonotonicClock, timers: yield* Timers }
      const held = new HeldBody(new HeldBodies())
      const refusals = yield* Effect.all([
        Effect.flip(readBody(announced(11), bounds, services, held)),
        Effect.flip(streamBody(announced(21), Stream.empty, bounds)),
        Effect.flip(readUpload(announced(21), Stream.empty, bounds, services, held, "b"))
      ])
      assert.deepStrictEqual(
        refusals.map(({ code, message }) => [code, /limits\.\w+/.exec(message)?.[0]]),
        [
          ["request_too_large", "limits.maxBodyBytes"],
          ["request_too_large", "limits.maxUploadBytes"],
          ["request_too_large", "limits.maxUploadBytes"]
        ]
      )
      yield* streamBody(announced(20), Stream.empty, bounds)
    }).pipe(Effect.provide(layerTime))
  )

  it("tells whether there is one", () => {
    assert.isFalse(hasBody(incoming()))
    assert.isFalse(hasBody(incoming({ headers: { "content-length": "0" } })))
    assert.isTrue(hasBody(incoming({ headers: { "content-length": "1" } })))
    assert.isTrue(hasBody(incoming({ headers: { "transfer-encoding": "chunked" } })))
  })

  it("must not be that it has to be unpacked", () => {
    for (const coding of ["gzip", "deflate", "br", "zstd", "GZIP", "gzip, identity", "x"]) {
      assert.strictEqual(packed(incoming({ headers: { "content-encoding": coding } }))?.code, "invalid_request", coding)
    }
    assert.isUndefined(packed(incoming()))
    assert.isUndefined(packed(incoming({ headers: { "content-encoding": "identity" } })))
  })
})
