/** What a document points at is there. */
import { existsSync, globSync, readFileSync } from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"

const root = path.resolve(import.meta.dirname, "../..")
const documents = globSync(["*.md", "docs/**/*.md", "src/**/*.md", "test/**/*.md"], { cwd: root })

const withoutCode = (text: string): string => text.replaceAll(/^```[^]*?^```/gm, "").replaceAll(/`[^`\n]*`(?!\])/g, "")

/** Targets within the project, without their anchors; what stands in code is no link. */
const linksOf = (file: string): ReadonlyArray<string> =>
  [...withoutCode(readFileSync(path.join(root, file), "utf8")).matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target = ""]) => target.replace(/#.*$/, ""))
    .filter((target) => target !== "" && !/^[a-z]+:/.test(target))

describe("the links of", () => {
  for (const file of documents.toSorted()) {
    it(`${file} lead to files that exist`, () => {
      const dead = linksOf(file).filter((target) => !existsSync(path.join(root, path.dirname(file), target)))
      assert.deepStrictEqual(dead, [])
    })
  }
})
