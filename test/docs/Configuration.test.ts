/** Pages that are made from the source say what the source says. */
import { readFileSync } from "node:fs"
import * as path from "node:path"
import { assert, it } from "@effect/vitest"
import { configuration } from "../../docs/generate/configuration.ts"

it("docs/configuration.md is what `npm run docs` writes", () => {
  const file = path.resolve(import.meta.dirname, "../../docs/configuration.md")
  assert.strictEqual(readFileSync(file, "utf8"), configuration())
})
