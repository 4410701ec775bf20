import { configDefaults, defineConfig } from "vitest/config"

/** What needs more than npm has a project of its own and a script of its own in package.json. */
const apart = ["engine", "services", "chaos", "fuzz", "bench"]

const project = (name: string, include: ReadonlyArray<string>, exclude: ReadonlyArray<string> = []) => ({
  test: {
    name,
    include: [...include],
    exclude: [...configDefaults.exclude, ...exclude],
    pool: "forks" as const,
    testTimeout: 30_000,
    hookTimeout: 60_000
  }
})

export default defineConfig({
  test: {
    // Most files wait for a process of their own: as many at a time as there are cores, not one fewer.
    maxWorkers: "100%",
    projects: [
      project(
        "weir",
        ["test/**/*.test.ts"],
        apart.map((folder) => `test/${folder}/**`)
      ),
      ...apart.map((folder) => project(folder, [`test/${folder}/**/*.test.ts`]))
    ]
  }
})
