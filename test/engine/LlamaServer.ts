/** A real llama-server with the tiny model of this folder. */

import { execFile, spawn } from "node:child_process"
import { createServer } from "node:net"
import * as path from "node:path"
import { createInterface } from "node:readline"
import { promisify } from "node:util"
import { Effect } from "effect"

const here = import.meta.dirname

export interface LlamaServer {
  readonly url: string
  /** Lines that it has written so far. */
  readonly log: ReadonlyArray<string>
}

/** Builds it if it is not there yet; the folder that it must be started from. */
const build = Effect.promise(async () => {
  const { stdout } = await promisify(execFile)("bash", [path.join(here, "build.sh")], { maxBuffer: 64 * 1024 * 1024 })
  return stdout.trim().split("\n").at(-1) ?? ""
})

/** A free port may be taken before it is used; nothing else on this machine takes ports at random. */
const freePort = Effect.callback<number>((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    server.close(() => resume(Effect.succeed(port)))
  })
})

/** Started when this returns; it may still be loading its model. `more`: arguments besides the usual ones. */
export const llamaServer = Effect.fnUntraced(function* (more: ReadonlyArray<string> = []) {
  const folder = yield* build
  const port = yield* freePort
  const log: Array<string> = []
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      const model = path.join(here, "tiny.gguf")
      const options = `-m ${model} --host 127.0.0.1 --port ${port} -c 4096 -np 2 -t 1 --metrics --slots --alias tiny --offline -v`
      const child = spawn(path.join(folder, "llama-server"), [...options.split(" "), ...more], {
        cwd: folder,
        stdio: ["ignore", "pipe", "pipe"]
      })
      for (const stream of [child.stdout, child.stderr])
        createInterface({ input: stream }).on("line", (line) => log.push(line))
      return child
    }),
    (child) =>
      Effect.callback<void>((resume) => {
        if (child.exitCode !== null) return resume(Effect.void)
        child.once("exit", () => resume(Effect.void))
        child.kill("SIGKILL")
      })
  )
  const server: LlamaServer = { url: `http://127.0.0.1:${port}`, log }
  return server
})
