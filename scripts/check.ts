/**
 * `npm run check`: types, lint, form, a build, and the unit tests of the rooms that differ from `main`, in less than 40 seconds on
 * two cores. What drives the built program, and whatever else `npm test` has, it leaves out.
 */
import { spawn, spawnSync } from "node:child_process"
import { existsSync, globSync, readFileSync } from "node:fs"
import * as path from "node:path"
import { testFoldersOf } from "./Rooms.ts"

const root = path.resolve(import.meta.dirname, "..")

const say = (text: string): void => void process.stdout.write(`${text}\n`)

/** Lines that git prints; none where it fails, as for a branch that is not there. */
const git = (...args: ReadonlyArray<string>): ReadonlyArray<string> => {
  const { status, stdout } = spawnSync("git", args, { cwd: root, encoding: "utf8" })
  return status === 0 ? stdout.split("\n").filter((line) => line !== "") : []
}

/** What differs from where this branch left `main`, with what is not committed and not yet known to git. */
const changedFiles = (): ReadonlyArray<string> => {
  const [base = "HEAD"] = [...git("merge-base", "HEAD", "main"), ...git("merge-base", "HEAD", "origin/main")]
  return [...git("diff", "--name-only", base), ...git("ls-files", "--others", "--exclude-standard")]
}

/** Its output is shown as a whole, and only where it failed. */
const run = (name: string, command: string, args: ReadonlyArray<string>): Promise<boolean> =>
  new Promise((resolve) => {
    const began = performance.now()
    const child = spawn("npx", ["--no-install", command, ...args], { cwd: root, shell: process.platform === "win32" })
    const output: Array<Buffer> = []
    child.stdout.on("data", (bytes: Buffer) => output.push(bytes))
    child.stderr.on("data", (bytes: Buffer) => output.push(bytes))
    child.on("close", (status) => {
      const seconds = ((performance.now() - began) / 1000).toFixed(1)
      say(`${status === 0 ? "ok    " : "FAILED"} ${name} (${seconds} s)`)
      if (status !== 0) process.stdout.write(Buffer.concat(output))
      resolve(status === 0)
    })
  })

const folders = testFoldersOf(changedFiles(), (folder) => existsSync(path.join(root, "test", folder)))

const outcomes = await Promise.all([
  run("types", "tsc", ["-p", "tsconfig.json"]),
  run("lint", "oxlint", ["-c", "oxlint.config.ts", "--type-aware", "--deny-warnings"]),
  run("form", "biome", ["check"]),
  // Some tests of rooms start the program.
  run("build", "tsc", ["-p", "tsconfig.build.json"])
])

const filesIn = (folder: string): ReadonlyArray<string> =>
  globSync(`test/${folder}/**/*.test.ts`, { cwd: root }).map((file) => file.replaceAll(path.sep, "/"))

/** It puts something else in the place of a module, which the other tests of a process would get too. */
const mocks = (file: string): boolean => readFileSync(path.join(root, file), "utf8").includes("vi.mock(")

const test = (name: string, options: ReadonlyArray<string>) =>
  run(`tests of ${name}`, "vitest", ["run", "--project", "weir", ...options])

if (folders.length === 0) say("no room differs from main: no tests")
else {
  const alone = folders.flatMap(filesIn).filter(mocks)
  const excluded = alone.flatMap((file) => ["--exclude", file])
  const paths = folders.map((folder) => `test/${folder}/`)
  // A process for each core instead of one for each file: the imports are half of the time.
  outcomes.push(await test(folders.join(", "), ["--no-isolate", ...excluded, ...paths]))
  if (alone.length > 0) outcomes.push(await test(alone.join(", "), alone))
}

process.exitCode = outcomes.every(Boolean) ? 0 : 1
