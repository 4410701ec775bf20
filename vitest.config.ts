import { defineConfig } from "vitest/config"

/** One project for what npm alone can run; the suites that need more have scripts of their own in package.json. */
export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/engine/**", "test/services/**", "test/chaos/**", "test/bench/**"],
    pool: "forks",
    testTimeout: 20_000,
    hookTimeout: 30_000
  }
})
