/** `npm run docs`: writes every page of this folder's parent that is made from the source. */
import { writeFileSync } from "node:fs"
import * as path from "node:path"
import { configuration } from "./configuration.ts"

const pages = { "configuration.md": configuration }

for (const [name, page] of Object.entries(pages)) {
  writeFileSync(path.resolve(import.meta.dirname, "..", name), page())
}
