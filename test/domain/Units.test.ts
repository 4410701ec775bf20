import { assert, describe, it } from "@effect/vitest"
import { Duration, Schema } from "effect"
import * as fc from "fast-check"
import { formatDuration, Size, Span } from "../../src/domain/Units.ts"
import { holdsFor } from "../Property.ts"

const decodeSpan = Schema.decodeUnknownOption(Span)
const decodeSize = Schema.decodeUnknownOption(Size)

/** Milliseconds; `refused` for what is no duration. */
const millis = (input: unknown): number | "refused" => {
  const decoded = decodeSpan(input)
  return decoded._tag === "Some" ? Duration.toMillis(decoded.value) : "refused"
}

const bytes = (input: unknown): number | "refused" => {
  const decoded = decodeSize(input)
  return decoded._tag === "Some" ? decoded.value : "refused"
}

describe("a duration", () => {
  it.each<[unknown, number]>([
    ["500ms", 500],
    ["30s", 30_000],
    ["5m", 300_000],
    ["1h", 3_600_000],
    ["2d", 172_800_000],
    ["1.5s", 1500],
    ["30 seconds", 30_000],
    ["1 minute", 60_000],
    [" 10s ", 10_000],
    ["10 S".toLowerCase(), 10_000],
    [30, 30_000],
    ["30", 30_000],
    [0.5, 500],
    [0, 0]
  ])("written as %j is %j ms", (input, expected) => {
    assert.strictEqual(millis(input), expected)
  })

  it.each<[unknown]>([
    ["-1s"],
    [-1],
    [""],
    [" "],
    ["s"],
    ["10 parsecs"],
    ["1m30s"],
    ["1e3s"],
    ["0x10s"],
    ["10s; 20s"],
    ["Infinity"],
    [Number.NaN],
    [Number.POSITIVE_INFINITY],
    [null],
    [true],
    [[]],
    [{}],
    ["__proto__"],
    ["1constructor"]
  ])("is not what %j is", (input) => {
    assert.strictEqual(millis(input), "refused")
  })

  it("a duration that is printed and read again is the same", () => {
    holdsFor(fc.integer({ min: 0, max: 10_000_000_000 }), (amount) => {
      assert.strictEqual(millis(formatDuration(Duration.millis(amount))), amount)
    })
  })

  it("means the same in every unit that it can be written in", () => {
    const units = fc.constantFrom(["ms", 1], ["s", 1000], ["m", 60_000], ["h", 3_600_000], ["d", 86_400_000] as const)
    holdsFor(
      fc.tuple(fc.integer({ min: 0, max: 100_000 }), units, fc.constantFrom("", " ", "  ")),
      ([n, unit, space]) => {
        assert.strictEqual(millis(`${n}${space}${unit[0]}`), n * unit[1])
      }
    )
  })

  it("is a number of milliseconds that is not negative, or is refused: whatever it is written as", () => {
    const texts = fc.oneof(
      fc.string({ unit: "binary", maxLength: 20 }),
      fc.stringMatching(/^[-+]?\d{0,30}(\.\d{0,5})?\s?(ms|s|m|h|d|weeks|years|seconds)?$/),
      fc.double()
    )
    holdsFor(
      texts,
      (input) => {
        const read = millis(input)
        assert.isTrue(read === "refused" || read >= 0, `${JSON.stringify(input)} is ${read}`)
      },
      2000
    )
  })
})

describe("a size", () => {
  it.each<[unknown, number]>([
    ["512KiB", 524_288],
    ["16MiB", 16_777_216],
    ["1GiB", 1_073_741_824],
    ["0", 0],
    ["1024", 1024],
    [1024, 1024],
    ["1024 B", 1024]
  ])("written as %j is %j bytes", (input, expected) => {
    assert.strictEqual(bytes(input), expected)
  })

  it.each<[unknown]>([
    ["-1"],
    [-1],
    [1.5],
    [""],
    ["KiB"],
    ["1 elephant"],
    ["1e3"],
    [Number.NaN],
    [2 ** 60],
    ["9".repeat(30)],
    ["999999999999999 TiB"],
    [null],
    [[]]
  ])("is not what %j is", (input) => {
    assert.strictEqual(bytes(input), "refused")
  })

  it("is a whole number that is not negative, or is refused: whatever it is written as", () => {
    const texts = fc.oneof(
      fc.string({ unit: "binary", maxLength: 20 }),
      fc.stringMatching(/^[-+]?\d{0,30}(\.\d{0,5})?\s?(B|KB|KiB|MiB|GiB|TiB|PiB)?$/),
      fc.double()
    )
    holdsFor(
      texts,
      (input) => {
        const read = bytes(input)
        assert.isTrue(
          read === "refused" || (Number.isSafeInteger(read) && read >= 0),
          `${JSON.stringify(input)}: ${read}`
        )
      },
      2000
    )
  })
})
