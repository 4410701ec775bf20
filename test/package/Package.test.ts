/** What `npm publish` would upload: packed from the build by npm itself, unpacked in an empty folder, and started there. */
import { execFile } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { afterAll, beforeAll } from "vitest"

const root = path.resolve(import.meta.dirname, "../..")
const manifest: { readonly version: string } & Record<string, object | string> = JSON.parse(
  readFileSync(path.join(root, "package.json"), "utf8")
)

const { version } = manifest

const run = promisify(execFile)

/** The npm that runs this test, else the one in the PATH. */
const npm = (...args: ReadonlyArray<string>) => {
  const script = process.env["npm_execpath"]
  return script === undefined || !/npm-cli\.[cm]?js$/.test(script)
    ? run("npm", args, { cwd: root })
    : run(process.execPath, [script, ...args], { cwd: root })
}

const folder = mkdtempSync(path.join(tmpdir(), "weir-package-"))
const installed = path.join(folder, "node_modules/@weir-gateway/weir")
let files: ReadonlyArray<string> = []

beforeAll(async () => {
  // Without scripts: the build is there, and other tests are using it.
  const { stdout } = await npm("pack", "--ignore-scripts", "--json", "--pack-destination", folder)
  const packed: ReadonlyArray<{ filename: string; files: ReadonlyArray<{ path: string }> }> = JSON.parse(stdout)
  files = packed[0]?.files.map((file) => file.path) ?? []
  mkdirSync(installed, { recursive: true })
  await run("tar", ["-xzf", path.join(folder, packed[0]?.filename ?? ""), "-C", installed, "--strip-components=1"])
  // In the place of the dependencies that npm would fetch.
  symlinkSync(path.join(root, "node_modules"), path.join(installed, "node_modules"), "junction")
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe("the package", () => {
  it("holds the program, what describes it, and examples of its configuration", () => {
    const needed = ["LICENSE", "README.md", "CHANGELOG.md", "package.json", "config/minimal.yaml", "dist/main.js"]
    assert.deepStrictEqual(
      needed.filter((name) => !files.includes(name)),
      []
    )
  })

  it("holds nothing else: no sources, no tests, no source maps", () => {
    const wanted =
      /^(?:LICENSE|README\.md|CHANGELOG\.md|package\.json|config\/[\w-]+\.yaml|dist\/[\w./-]+\.(?:js|json|html|css|svg|png|ico|woff2|txt))$/
    assert.deepStrictEqual(
      files.filter((name) => !wanted.test(name)),
      []
    )
  })

  it("names its program, its license and its home, and may be published by its scope", () => {
    assert.deepInclude(manifest, {
      name: "@weir-gateway/weir",
      license: "MIT",
      bin: { weir: "dist/main.js" },
      publishConfig: { access: "public" }
    })
    for (const field of ["description", "homepage", "bugs", "repository", "keywords", "engines", "exports"]) {
      assert.isDefined(manifest[field], field)
    }
    assert.isUndefined(manifest["private"])
  })

  it("asks for every dependency at one exact version", () => {
    const versions = ["dependencies", "devDependencies", "optionalDependencies"].flatMap((kind) =>
      Object.entries(manifest[kind] ?? {})
    )
    assert.isAbove(versions.length, 20)
    assert.deepStrictEqual(
      versions.filter(([, version]) => !/^(?:npm:[\w-]+@)?\d+\.\d+\.\d+(?:-[\w.]+)?$/.test(String(version))),
      []
    )
  })

  it("starts where it is installed", async () => {
    assert.isTrue(existsSync(path.join(installed, "dist/main.js")))
    const weir = (...args: ReadonlyArray<string>) =>
      run(process.execPath, [path.join(installed, "dist/main.js"), ...args], { cwd: folder })
    assert.include((await weir("--version")).stdout, version)
    assert.include((await weir("--help")).stdout, "serve")
    const example = path.join(installed, "config/minimal.yaml")
    assert.include((await weir("check", "--config", example)).stdout, "strategy: least_inflight")
  })
})
