/** Which folders of tests a change concerns. */

/** Folders that drive the built program, or take long: `npm test` and the scripts of their own run them. */
const apart = new Set(["bench", "cases", "chaos", "e2e", "engine", "fuzz", "hostile", "invariants", "services", "soak"])

/** Rooms of which the folder of tests has another name. */
const otherName: Readonly<Record<string, string>> = { bench: "bench-harness" }

/**
 * The folders below `test` for these changed files, sorted: those of the rooms of `src` and those that were changed
 * themselves. `exists` says whether there is such a folder.
 */
export const testFoldersOf = (
  files: ReadonlyArray<string>,
  exists: (folder: string) => boolean
): ReadonlyArray<string> => {
  const folders = files.flatMap((file) => {
    const [top = "", room = "", below] = file.split("/")
    if (top === "docs" || file.endsWith(".md")) return ["docs"]
    if (top === "scripts") return ["scripts"]
    if (top === "package.json" || top === "package-lock.json") return ["package"]
    if (top === "config") return ["config", "docs"]
    if (below === undefined) return []
    if (top === "src") return [otherName[room] ?? room]
    return top === "test" && !apart.has(room) ? [room] : []
  })
  return [...new Set(folders)].filter(exists).toSorted()
}
