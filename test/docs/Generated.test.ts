/** Pages that are written from the code say what the code says. */
import { readFileSync } from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { folder, pages } from "../../docs/generate/all.ts"

describe("the generated pages are up to date (npm run docs)", () => {
  for (const [file, text] of pages) {
    it(`docs/${file}`, async () => {
      assert.strictEqual(readFileSync(path.join(folder, file), "utf8"), await text())
    })
  }
})
