import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { topLevelMember } from "../../src/proxy/JsonMember.ts"
import { holdsFor } from "../Property.ts"
import { entries, styles, write } from "./JsonText.ts"

const bytes = (text: string) => Buffer.from(text, "utf8")

const valueOf = (text: string, name: string): string | undefined => {
  const body = bytes(text)
  const { end, start } = topLevelMember(body, name)
  return start < 0 ? undefined : body.subarray(start, end).toString("utf8")
}

describe("a member of a JSON object", () => {
  it("is found by its exact bytes, whatever stands around it", () => {
    assert.strictEqual(valueOf('{"model":"a"}', "model"), '"a"')
    assert.strictEqual(valueOf(' {\n "a" : [1, {"model": 2}] ,\t"model" : "b\\"}" , "z": null }\n', "model"), '"b\\"}"')
    assert.strictEqual(valueOf('{"n":-1.50e+3,"model":"x"}', "n"), "-1.50e+3")
    assert.strictEqual(valueOf('{"o":{"a":[{}]},"b":1}', "o"), '{"a":[{}]}')
  })

  it("is found under a name that is spelled with escapes", () => {
    assert.strictEqual(valueOf('{"\\u006d\\u006Fdel":"a"}', "model"), '"a"')
  })

  it("is not found inside of other values", () => {
    assert.strictEqual(valueOf('{"a":{"model":"x"},"b":["model","y"],"c":"\\"model\\":1"}', "model"), undefined)
    assert.strictEqual(valueOf("{}", "model"), undefined)
    assert.strictEqual(valueOf('{"a":"model"}', "model"), undefined)
  })

  it("counts by its last value where it comes twice, and says so", () => {
    const body = bytes('{"model":"a","x":1,"\\u006dodel":"b"}')
    const found = topLevelMember(body, "model")
    assert.strictEqual(body.subarray(found.start, found.end).toString(), '"b"')
    assert.isTrue(found.repeated)
    assert.isFalse(topLevelMember(bytes('{"model":"a","models":"b"}'), "model").repeated)
  })

  it("stands where JSON.parse finds its value, for every member of any object in any spelling", () => {
    holdsFor(fc.tuple(entries, styles), ([members, style]) => {
      const { places, text } = write(members, style)
      const body = bytes(text)
      for (const name of ["model", "", "__proto__", ...members.map(([key]) => key)]) {
        const named = places.filter(({ key }) => key === name)
        const last = named.at(-1)
        const found = topLevelMember(body, name)
        assert.strictEqual(found.repeated, named.length > 1)
        if (last === undefined) {
          assert.strictEqual(found.start, -1)
          continue
        }
        assert.strictEqual(found.start, Buffer.byteLength(text.slice(0, last.start)))
        assert.strictEqual(found.end, Buffer.byteLength(text.slice(0, last.end)))
        const parsed: unknown = JSON.parse(text)
        const value: unknown = JSON.parse(body.subarray(found.start, found.end).toString("utf8"))
        assert.deepStrictEqual(value, Object.getOwnPropertyDescriptor(parsed, name)?.value)
      }
    })
  })

  it("is found below 100,000 levels of brackets in no time and without a crash", () => {
    const deep = "[".repeat(100_000) + "]".repeat(100_000)
    assert.strictEqual(valueOf(`{"a":${deep},"model":"x"}`, "model"), '"x"')
  })
})
