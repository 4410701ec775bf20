import { assert, describe, it } from "@effect/vitest"
import { parseProbe } from "../../src/health/ProbeJson.ts"

const parsed = (value: unknown) => parseProbe(Buffer.from(JSON.stringify(value)))

describe("the JSON of a probe's answer", () => {
  it.each([
    ["an empty list", { data: [] }],
    ["a short answer of nothing but lists", Array.from({ length: 30_000 }, () => [])],
    [
      "five thousand models, with all that engines tell of them",
      {
        object: "list",
        data: Array.from({ length: 5000 }, (_, i) => ({
          id: `org/model-${i}`,
          created: i,
          owned_by: "x",
          tags: ["a", "b"]
        }))
      }
    ],
    ["a long text with few marks", { data: [{ id: "m", about: "x".repeat(3_000_000) }] }]
  ])("is read where it is %s", (_, value) => {
    assert.deepStrictEqual(parsed(value), value)
  })

  it.each([
    ["words", "Not Found"],
    ["a page", "<html></html>"],
    ["half of it", '{"data":['],
    ["a megabyte of lists in lists", "[".repeat(500_000) + "]".repeat(500_000)],
    ["a megabyte of empty objects", `[${"{},".repeat(300_000)}{}]`],
    ["a megabyte of members", `{${'"a":1,'.repeat(150_000)}"a":1}`]
  ])("is none where it is %s", (_, text) => {
    assert.isUndefined(parseProbe(Buffer.from(text)))
  })
})
