/** The table of this folder's README says which test proves which rule: it must not name what is not there. */
import { existsSync, readFileSync } from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"

const here = import.meta.dirname
const readme = readFileSync(path.join(here, "README.md"), "utf8")

/** Everything in the last column of a table that looks like a test or a folder of tests. */
const named = readme
  .split("\n")
  .filter((line) => line.startsWith("|"))
  .flatMap((line) => [...(line.split("|").at(-2) ?? "").matchAll(/`([a-z-]+\/\w*)`/g)].map(([, name]) => name ?? ""))

const rowsOf = (folder: string): ReadonlyArray<string> =>
  ["BackPressure", "BeforeTheHead", "ComingAndGoing", "MidStream"].flatMap((name) =>
    [...readFileSync(path.join(here, folder, `${name}.ts`), "utf8").matchAll(/id: "(S\d\d)"/g)].map(
      ([, id]) => id ?? ""
    )
  )

describe("the table of rules and tests", () => {
  it("names tests that exist", () => {
    assert.isAbove(named.length, 80)
    const filesOf = (name: string) => (name.endsWith("/") ? [name] : [`${name}.test.ts`, `${name}.mjs`])
    const missing = named.filter((name) => !filesOf(name).some((file) => existsSync(path.join(here, file))))
    assert.deepStrictEqual(missing, [])
  })

  it("has every row of the fault table, and no others", () => {
    const all = Array.from({ length: 22 }, (_, n) => `S${String(n + 1).padStart(2, "0")}`)
    assert.deepStrictEqual(rowsOf("chaos/table").toSorted(), all)
    const claimed = [...readme.matchAll(/S\d\d/g)].map(([id]) => id)
    assert.deepStrictEqual(
      [...new Set(claimed)].filter((id) => !all.includes(id)),
      []
    )
  })
})
