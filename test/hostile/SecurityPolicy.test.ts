/** What SECURITY.md says is held by tests that are there. */
import { existsSync, readFileSync } from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"

const root = path.resolve(import.meta.dirname, "../..")
const lines = readFileSync(path.join(root, "SECURITY.md"), "utf8").split("\n")

describe("every promise of SECURITY.md", () => {
  const rows = lines.filter((line) => line.startsWith("| ") && !/^\| (promise|---)/.test(line))

  it("names the test that proves it, and that test is there", () => {
    assert.isAbove(rows.length, 15)
    for (const row of rows) {
      const tests = [...row.matchAll(/`(test\/[\w/.]+\.test\.ts)`/g)].map(([, file = ""]) => file)
      assert.isNotEmpty(tests, row)
      for (const file of tests) assert.isTrue(existsSync(path.join(root, file)), file)
    }
  })
})
