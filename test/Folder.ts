/** For tests of what is read from files. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { Effect, type Scope } from "effect"

/** A folder with these texts under these names, for as long as the scope; its path. */
export const folderWith = (files: Readonly<Record<string, string>>): Effect.Effect<string, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const folder = mkdtempSync(path.join(tmpdir(), "weir-test-"))
      for (const [name, text] of Object.entries(files)) writeFileSync(path.join(folder, name), text)
      return folder
    }),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
  )
