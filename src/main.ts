#!/usr/bin/env node
/**
 * The entry. Nothing of the program is imported before the Node version is known to be new enough, so that an old one
 * gets a sentence instead of a syntax error. Where a newer binary came along with the installation, it takes over.
 */
import { spawn } from "node:child_process"
import { existsSync, mkdirSync, statSync } from "node:fs"
import type * as Inspector from "node:inspector"
// By its whole: a name that an old Node lacks would be a syntax error.
import nodeModule, { createRequire } from "node:module"
import { homedir } from "node:os"
import { dirname, isAbsolute, join } from "node:path"
import { setFlagsFromString } from "node:v8"

/**
 * SIGUSR1 does nothing. Node would open its inspector, through which any user of this machine could run code in the
 * process and read every key. `--inspect` opens it.
 */
process.on("SIGUSR1", () => {})

const isInspectorWanted = [...process.execArgv, process.env["NODE_OPTIONS"] ?? ""].some((text) =>
  /--inspect(?:-brk|-wait)?(?:[=\s]|$)/.test(text)
)

/** Shuts an inspector that such a signal opened before this file ran. */
const shutInspector = (): void => {
  if (isInspectorWanted || !process.features.inspector) return
  const inspector: Pick<typeof Inspector, "close" | "url"> = createRequire(import.meta.url)("node:inspector")
  if (inspector.url() !== undefined) inspector.close()
}

/**
 * One signal opens it twice: at once, and where the event loop next polls. A thread of its own takes the signal, and may
 * be late. So it is looked at now, and after a poll at each of these times.
 */
const inspectorLooksMillis: ReadonlyArray<number> = [0, 100, 1000, 10_000]
shutInspector()
for (const millis of inspectorLooksMillis) setTimeout(() => setImmediate(shutInspector), millis).unref()

const oldest: readonly [major: number, minor: number] = [22, 19]

const isNewEnough = (version: string): boolean => {
  const [major = 0, minor = 0] = version.split(".").map(Number)
  return major > oldest[0] || (major === oldest[0] && minor >= oldest[1])
}

/** The binary of npm's package for this platform, where it was installed. */
const bundledNode = (): string | undefined => {
  const platform = process.platform === "win32" ? "win" : process.platform
  try {
    const manifest = createRequire(import.meta.url).resolve(`node-${platform}-${process.arch}/package.json`)
    const binary = join(dirname(manifest), "bin", process.platform === "win32" ? "node.exe" : "node")
    return existsSync(binary) ? binary : undefined
  } catch {
    return undefined
  }
}

/** Arguments, signals, standard streams and the exit status are passed through. */
const handOver = (binary: string): void => {
  const args = ["--disable-sigusr1", ...process.execArgv, ...process.argv.slice(1)]
  const child = spawn(binary, args, { stdio: "inherit" })
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR2"] as const) {
    process.on(signal, () => child.kill(signal))
  }
  child.on("exit", (code, signal) => {
    if (signal === null) process.exit(code ?? 1)
    process.removeAllListeners(signal)
    process.kill(process.pid, signal)
  })
}

/**
 * V8 notes where in the code objects are made that live long, and makes them in old memory from then on. While hundreds
 * of connections are being opened nearly all of them do. What is made at the same places for a request dies at once, but
 * in old memory it keeps whatever it points to until the next full collection: with 100 backends the collector stopped
 * everything for 13 ms instead of 4, eight times a second, and a request cost a tenth more (with 1,000: a fifth).
 */
const keepRequestsYoung = (): void => setFlagsFromString("--no-allocation-site-pretenuring")

/** The user's own folder for what can be made again. */
const cacheFolder = (): string => {
  const { LOCALAPPDATA: local = "", XDG_CACHE_HOME: xdg = "" } = process.env
  if (process.platform === "win32") return isAbsolute(local) ? local : join(homedir(), "AppData", "Local")
  if (isAbsolute(xdg)) return xdg
  return process.platform === "darwin" ? join(homedir(), "Library", "Caches") : join(homedir(), ".cache")
}

/** What is read from there runs in this process, so nobody else may write to it. */
const isOwn = (folder: string): boolean => {
  if (process.getuid === undefined) return true
  const { mode, uid } = statSync(folder)
  return uid === process.getuid() && (mode & 0o022) === 0
}

/**
 * What V8 made of the sources is kept for the next start, and written when the program ends. Without a folder to keep it
 * in, everything is compiled anew; Node's own NODE_COMPILE_CACHE and NODE_DISABLE_COMPILE_CACHE are respected.
 */
const keepCompiled = (): void => {
  if (nodeModule.getCompileCacheDir() !== undefined) return
  try {
    const folder = join(cacheFolder(), "weir", "compiled")
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    if (isOwn(folder)) nodeModule.enableCompileCache(folder)
  } catch {
    // No such folder can be had.
  }
}

if (isNewEnough(process.versions.node)) {
  keepRequestsYoung()
  keepCompiled()
  const { main } = await import("./cli/Weir.ts")
  main(process.argv.slice(2), process.env)
} else {
  const binary = bundledNode()
  if (binary === undefined) {
    process.stderr.write(`weir needs Node.js ${oldest.join(".")} or newer; this is ${process.versions.node}\n`)
    process.exitCode = 1
  } else handOver(binary)
}
