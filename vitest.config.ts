import { configDefaults, defineConfig } from "vitest/config"

/** What needs more than npm has a project of its own and a script of its own in package.json. */
const apart = ["engine", "services", "chaos", "fuzz", "bench"]

/** The same promises without the fast path: those with mocks, and those of the whole program, which take longer. */
const fibers = { WEIR_TEST_FAST_PATH: "off" }

const project = (
  name: string,
  include: ReadonlyArray<string>,
  exclude: ReadonlyArray<string> = [],
  env: Record<string, string> = {}
) => ({
  test: {
    name,
    env,
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
      project("fibers", ["test/proxy/**/*.test.ts", "test/invariants/Invariants.test.ts"], [], {
        ...fibers,
        WEIR_CHAOS_SEEDS: "300"
      }),
      project("fibers-whole", ["test/e2e/**/*.test.ts", "test/hostile/**/*.test.ts"], [], fibers),
      ...apart.map((folder) => project(folder, [`test/${folder}/**/*.test.ts`]))
    ]
  }
})
