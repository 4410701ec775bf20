#!/usr/bin/env node
/**
 * The entry. Nothing of the program is imported before the Node version is known to be new enough, so that an old one
 * gets a sentence instead of a syntax error. Where a newer binary came along with the installation, it takes over.
 */
import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { setFlagsFromString } from "node:v8"

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
  const child = spawn(binary, [...process.execArgv, ...process.argv.slice(1)], { stdio: "inherit" })
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

if (isNewEnough(process.versions.node)) {
  keepRequestsYoung()
  const { main } = await import("./cli/Weir.ts")
  main(process.argv.slice(2), process.env)
} else {
  const binary = bundledNode()
  if (binary === undefined) {
    process.stderr.write(`weir needs Node.js ${oldest.join(".")} or newer; this is ${process.versions.node}\n`)
    process.exitCode = 1
  } else handOver(binary)
}
