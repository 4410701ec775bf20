/** The pages of `docs` that are written from the code; `npm run docs` writes them. */
import { writeFileSync } from "node:fs"
import * as path from "node:path"
import { configuration } from "./configuration.ts"
import { errors } from "./errors.ts"
import { metrics } from "./metrics.ts"

/** Each page's file in `docs`, and what makes its text. */
export const pages: ReadonlyArray<readonly [file: string, text: () => string | Promise<string>]> = [
  ["configuration.md", configuration],
  ["errors.md", errors],
  ["metrics.md", metrics]
]

export const folder = path.resolve(import.meta.dirname, "..")

if (process.argv[1] === import.meta.filename) {
  for (const [file, text] of pages) writeFileSync(path.join(folder, file), await text())
}
