import { assert, describe, it } from "@effect/vitest"
import { checkRawReferences } from "../../src/config/RawReferences.ts"

const backends = [{ name: "engine", url: "http://127.0.0.1:1" }]

const keysOf = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ name: `key-${index}`, sha256: index.toString(16).padStart(64, "0") }))

describe("names in a configuration", () => {
  it("are compared in a time that grows with their number, not with its square", { timeout: 5000 }, () => {
    const count = 100_000
    const keys = [...keysOf(count), { name: "key-7", sha256: "f".repeat(64) }]
    const models = Array.from({ length: count }, (_, index) => ({ match: `m${index}`, backends: ["engine"] }))
    assert.deepStrictEqual(checkRawReferences({ backends, keys, models }), [
      { at: ["keys", count, "name"], message: "duplicate key name (the same as in entry 7)" }
    ])
  })

  it("are wrong where two rules have the same expression: the second could never be taken", () => {
    const models = ["m", "n", "m"].map((match) => ({ match, backends: ["engine"] }))
    assert.deepStrictEqual(checkRawReferences({ backends, models }), [
      { at: ["models", 2, "match"], message: "duplicate match (the same as in entry 0)" }
    ])
  })

  it("name the first of their kind, however often they come again", () => {
    const keys = [...keysOf(2), ...keysOf(1), ...keysOf(1)]
    const names = checkRawReferences({ backends, keys }).filter(({ at }) => at.at(-1) === "name")
    assert.deepStrictEqual(names, [
      { at: ["keys", 2, "name"], message: "duplicate key name (the same as in entry 0)" },
      { at: ["keys", 3, "name"], message: "duplicate key name (the same as in entry 0)" }
    ])
  })
})
