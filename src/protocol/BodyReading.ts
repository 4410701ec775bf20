/** Reading a body that must be a JSON object: at once where it is short, else in slices between which others get their turn. */
import { isUtf8 } from "node:buffer"
import { Effect, Result, type Semaphore } from "effect"
import { asBuffer } from "../domain/Bytes.ts"
import { InvalidJson, InvalidRequest } from "../domain/Errors.ts"
import { fields } from "./BodyNames.ts"
import { BodyOutline } from "./BodyOutline.ts"
import { JsonScanner, maxDepth } from "./JsonScanner.ts"

export type BodyError = InvalidJson | InvalidRequest

/** Bytes that are read without a pause: of the worst text some milliseconds, of an ordinary one a tenth of one. */
export const sliceBytes = 131_072

/** Whether a body should be read in slices. */
export const isLong = (body: Uint8Array): boolean => body.length > sliceBytes

/** Reads all of it at once. */
export const readBodyAtOnce = (body: Uint8Array): Result.Result<BodyOutline, BodyError> => {
  const begun = begin(body)
  if (Result.isFailure(begun)) return Result.fail(begun.failure)
  const reading = begun.success
  reading.readTo(reading.length)
  return reading.result()
}

/**
 * Reads it in slices. `turns` has one permit for all that is read at once: of many long bodies, one slice is read in a
 * turn of the event loop.
 */
export const readBodyInSlices = (body: Uint8Array, turns: Semaphore.Semaphore): Effect.Effect<BodyOutline, BodyError> =>
  Effect.flatMap(
    Effect.suspend(() => Effect.fromResult(begin(body))),
    (reading) => {
      const slice = turns.withPermit(
        Effect.suspend(() => Effect.as(Effect.yieldNow, reading.readTo(reading.at + sliceBytes)))
      )
      const goOn: Effect.Effect<BodyOutline, BodyError> = Effect.flatMap(slice, (isMore) =>
        isMore ? goOn : Effect.fromResult(reading.result())
      )
      return goOn
    }
  )

const begin = (body: Uint8Array): Result.Result<Reading, InvalidJson> => {
  const bytes = withoutMark(asBuffer(body))
  return isOtherEncoding(bytes)
    ? Result.fail(new InvalidJson({ message: "The body must be JSON in UTF-8; this one is in UTF-16 or UTF-32." }))
    : Result.succeed(new Reading(bytes))
}

/** Some programs of Windows write a byte order mark in front of what is UTF-8 anyway; engines refuse it. */
const withoutMark = (bytes: Buffer): Buffer =>
  bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes

/** By its byte order mark, or by the zeros around the first character, which is ASCII in all JSON. */
const isOtherEncoding = (bytes: Buffer): boolean => {
  const first = bytes[0]
  const second = bytes[1]
  if (first === undefined || second === undefined) return false
  return first === 0 || second === 0 || (first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)
}

class Reading {
  readonly #bytes: Buffer
  readonly #outline: BodyOutline
  readonly #scanner: JsonScanner
  /** So far it is known to be UTF-8. */
  #checked = 0
  #isUtf8 = true

  constructor(bytes: Buffer) {
    this.#bytes = bytes
    this.#outline = new BodyOutline(bytes)
    this.#scanner = new JsonScanner(bytes, this.#outline, fields.body)
  }

  get length(): number {
    return this.#bytes.length
  }

  get at(): number {
    return this.#scanner.at
  }

  /** Reads on to about `wanted`; `false` where nothing is left, or something is wrong. */
  readTo(wanted: number): boolean {
    const until = Math.min(wanted, this.#bytes.length)
    const end = wholeCharacters(this.#bytes, until)
    const isAll = this.#checked === 0 && end === this.#bytes.length
    this.#isUtf8 = isUtf8(isAll ? this.#bytes : this.#bytes.subarray(this.#checked, end))
    this.#checked = end
    return this.#isUtf8 && this.#scanner.run(until) && until < this.#bytes.length
  }

  result(): Result.Result<BodyOutline, BodyError> {
    const problem = this.#problem()
    return problem === undefined ? Result.succeed(this.#outline) : Result.fail(problem)
  }

  #problem(): BodyError | undefined {
    if (!this.#isUtf8) return new InvalidJson({ message: "The body is not valid UTF-8." })
    if (this.#scanner.isTooDeep) {
      return new InvalidRequest({ message: `The body's JSON is nested deeper than ${maxDepth} levels.` })
    }
    if (!this.#scanner.isValid) {
      return new InvalidJson({ message: `The body is not valid JSON: see byte ${this.#scanner.at}.` })
    }
    if (!this.#outline.isObject) return new InvalidRequest({ message: "The body must be a JSON object." })
    return this.#outline.repeats("model")
      ? new InvalidRequest({ message: "The body names its model more than once.", param: "model" })
      : undefined
  }
}

/** The last position up to `wanted` at which no character of UTF-8 is cut. */
const wholeCharacters = (bytes: Buffer, wanted: number): number => {
  if (wanted === bytes.length) return wanted
  let at = wanted
  // A character has at most three bytes that continue it; what has more is found to be none.
  while (at > wanted - 3 && ((bytes[at] ?? 0) & 0xc0) === 0x80) at--
  return at
}
