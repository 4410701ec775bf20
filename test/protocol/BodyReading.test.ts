/** How bodies are read: at once or in slices to the same end, with a byte order mark or without, in UTF-8 only. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Result, Semaphore } from "effect"
import { isLong, readBodyAtOnce, readBodyInSlices as readInSlices, sliceBytes } from "../../src/protocol/BodyReading.ts"

const messageOf = (body: Uint8Array): string | undefined => {
  const read = readBodyAtOnce(body)
  if (Result.isSuccess(read)) return undefined
  const { code, message, status } = read.failure
  return `${status} ${code} ${message}`
}

const readBodyInSlices = (body: Uint8Array) => readInSlices(body, Semaphore.makeUnsafe(1))

const filler = (length: number, unit = "x") => unit.repeat(Math.ceil(length / Buffer.byteLength(unit)))

describe("a byte order mark", () => {
  const mark = Buffer.from([0xef, 0xbb, 0xbf])
  const marked = (...rest: ReadonlyArray<string | Buffer>) =>
    Buffer.concat([mark, ...rest.map((piece) => Buffer.from(piece))])

  it("a byte order mark of UTF-8 is passed over, and is no part of what is sent on", () => {
    const read = Result.getOrThrow(readBodyAtOnce(marked('{"model":"a"}')))
    assert.strictEqual(read.text("model", 10), "a")
    assert.strictEqual(read.bytes.toString("utf8"), '{"model":"a"}')
  })

  it.each([
    ["with nothing behind it", marked()],
    ["that comes twice", marked(mark, "{}")],
    ["behind white space", Buffer.concat([Buffer.from(" "), marked("{}")])],
    ["that is cut", Buffer.from([0xef, 0xbb])],
    ["inside of the JSON", Buffer.concat([Buffer.from('{"a":'), marked("1}")])]
  ])("a byte order mark %s is no JSON", (_, body) => {
    assert.match(messageOf(body) ?? "", /^400 invalid_json/)
  })

  const utf16 = Buffer.from('\uFEFF{"model":"a"}', "utf16le")
  const utf32 = Buffer.from([0xfeff, 0x7b, 0x7d].flatMap((unit) => [unit & 255, unit >> 8, 0, 0]))
  it.each([
    ["UTF-16 of Windows", utf16],
    ["UTF-16 of the network", Buffer.from(utf16).swap16()],
    ["UTF-16 without a mark", utf16.subarray(2)],
    ["UTF-16 of the network without a mark", Buffer.from(utf16.subarray(2)).swap16()],
    ["UTF-32", utf32],
    ["UTF-32 without a mark", utf32.subarray(4)]
  ])("a byte order mark of %s is told that UTF-8 is needed", (_, body) => {
    assert.match(messageOf(body) ?? "", /^400 invalid_json .*must be JSON in UTF-8/)
  })
})

describe("a long body", () => {
  /** Characters of every length, so that slices end inside of them. */
  const odd = filler(3 * sliceBytes, "aé✓\u{1f600}b")
  const bodies: ReadonlyArray<readonly [string, Uint8Array]> = [
    [
      "with texts of many alphabets",
      Buffer.from(JSON.stringify({ model: "m", messages: [{ content: odd }], user: "u" }))
    ],
    ["behind a byte order mark", Buffer.from(`\uFEFF{"x":"${odd}","model":"m","user":"u"}`)],
    ["of numbers", Buffer.from(`{"input":[${filler(2 * sliceBytes, "-12.5e3,")}0],"model":"m","user":"u"}`)],
    ["with a number of many digits", Buffer.from(`{"x":${filler(2 * sliceBytes, "1")},"model":"m","user":"u"}`)],
    ["that is white space", Buffer.from(`{"model":"m","user":"u"${filler(2 * sliceBytes, " ")}}`)],
    ["of escapes", Buffer.from(`{"x":"${filler(2 * sliceBytes, "\\u00e9")}","model":"m","user":"u"}`)],
    ["of members", Buffer.from(`{${filler(2 * sliceBytes, '"model_":1,')}"model":"m","user":"u"}`)]
  ]

  it.effect.each(bodies)("a long body %s is read to the same end in slices as at once", ([, body]) =>
    Effect.gen(function* () {
      assert.isTrue(isLong(body))
      const outline = yield* readBodyInSlices(body)
      assert.deepStrictEqual([outline.text("model", 9), outline.text("user", 9)], ["m", "u"])
      assert.isTrue(Result.isSuccess(readBodyAtOnce(body)))
    })
  )

  it.effect.each([
    ["that is cut", Buffer.from(`{"x":"${odd}`), /not valid JSON/],
    ["that is wrong in its middle", Buffer.from(`{"x":"${odd}",,"y":"${odd}"}`), /not valid JSON/],
    ["that is wrong at its end", Buffer.from(`{"x":"${odd}"}}`), /not valid JSON/],
    [
      "that is no UTF-8",
      Buffer.concat([Buffer.from(`{"x":"${odd}`), Buffer.from([0xff]), Buffer.from('"}')]),
      /not valid UTF-8/
    ],
    ["that ends in half a character", Buffer.from(`{"x":"${odd}é`).subarray(0, -1), /not valid UTF-8/],
    ["that continues no character", Buffer.alloc(2 * sliceBytes, 0x80), /not valid UTF-8/],
    ["that is nested too deep", Buffer.from(filler(2 * sliceBytes, "[")), /512 levels/],
    ["that is a list", Buffer.from(`["${odd}"]`), /must be a JSON object/],
    ["that names its model twice", Buffer.from(`{"model":"a","x":"${odd}","model":"b"}`), /more than once/]
  ] as const)("a long body %s is refused alike in slices and at once", ([, body, message]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(readBodyInSlices(body))
      assert.match(error.message, message)
      assert.strictEqual(messageOf(body), `${error.status} ${error.code} ${error.message}`)
    })
  )

  it.live("lets the event loop go on between its slices, and is not read on for a client that has left", () =>
    Effect.gen(function* () {
      const body = Buffer.from(`{"model":"m","x":[${filler(40 * sliceBytes, "[],")}[]]}`)
      let turns = 0
      const count = () => {
        turns++
        handle = setImmediate(count)
      }
      let handle = setImmediate(count)
      yield* readBodyInSlices(body)
      assert.isAtLeast(turns, 39)
      const reading = yield* Effect.forkChild(readBodyInSlices(body))
      yield* Effect.yieldNow
      const before = turns
      yield* Fiber.interrupt(reading)
      assert.isBelow(turns - before, 5)
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(reading)))
      clearImmediate(handle)
    })
  )

  it.live(
    "takes turns with others: one slice of all is read at a time, and none of them waits for the end of another",
    () =>
      Effect.gen(function* () {
        const turns = Semaphore.makeUnsafe(1)
        const ended: Array<string> = []
        const read = (name: string, slices: number) =>
          readInSlices(Buffer.from(`{"x":"${filler(slices * sliceBytes)}"}`), turns).pipe(
            Effect.andThen(Effect.sync(() => ended.push(name)))
          )
        let loops = 0
        const count = () => {
          loops++
          handle = setImmediate(count)
        }
        let handle = setImmediate(count)
        yield* Effect.all([read("long", 30), read("longer", 40), read("short", 2), read("longest", 50)], {
          concurrency: "unbounded"
        })
        clearImmediate(handle)
        assert.deepStrictEqual(ended, ["short", "long", "longer", "longest"])
        assert.isAtLeast(loops, 30 + 40 + 2 + 50)
      })
  )
})
