import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { JsonBalance } from "../../src/protocol/JsonBalance.ts"
import { holdsFor } from "../Property.ts"
import { split } from "./EventStreams.ts"

const isWhole = (text: string | Buffer, sizes: ReadonlyArray<number> = []): boolean => {
  const balance = new JsonBalance()
  for (const piece of split(Buffer.from(text), sizes)) balance.push(piece)
  return balance.isWhole
}

describe("the balance of a document", () => {
  const documents = fc
    .oneof(fc.array(fc.jsonValue()), fc.dictionary(fc.string(), fc.jsonValue()))
    .chain((value) => fc.constantFrom(JSON.stringify(value), JSON.stringify(value, null, 2)))

  it("is kept by every document, however it is cut into pieces", () => {
    holdsFor(
      fc.tuple(documents, fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 })),
      ([text, sizes]) => assert.isTrue(isWhole(`\n${text}\r\n`, sizes)),
      1000
    )
  })

  it("is lost wherever a document is cut, within a character too", () => {
    holdsFor(
      fc.tuple(documents, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })),
      ([text, share]) => {
        const bytes = Buffer.from(text)
        assert.isFalse(isWhole(bytes.subarray(0, Math.floor(bytes.length * share))))
      },
      1000
    )
  })

  it("is lost by a bracket too many, and by nothing at all", () => {
    for (const text of ["", "  \n", "]", "{}]", "{}}{"]) assert.isFalse(isWhole(text), JSON.stringify(text))
  })
})
