/** How the program starts, and what it says when it cannot. */

import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises"
import * as net from "node:net"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Simulator } from "../../src/sim/Simulator.ts"
import { ask, chat, errorOf } from "./Ask.ts"
import { entry, eventually, run, serve } from "./Program.ts"

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(path.join(tmpdir(), "weir-start-"))),
  (made) => Effect.promise(() => rm(made, { recursive: true, force: true }))
)

/** A port on which something else listens. */
const takenPort = Effect.acquireRelease(
  Effect.callback<{ readonly port: number; readonly server: net.Server }>((resume) => {
    const server = net.createServer()
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      resume(Effect.succeed({ server, port: typeof address === "object" && address !== null ? address.port : 0 }))
    })
  }),
  ({ server }) => Effect.sync(() => server.close())
)

describe("serve", () => {
  it.live("is what happens without a sub-command, configured by the environment alone", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.make()
      const program = yield* run(["--port", "0"], { env: { WEIR_BACKENDS: simulator.url, WEIR_API_KEY: "sk" } })
      const line = yield* eventually(
        Effect.sync(() => program.stderr.find((each) => each.includes('"listening"'))),
        () => program.stderr.join("\n")
      )
      const port = /"port":(\d+)/.exec(line)?.[1]
      const answer = yield* chat(`http://127.0.0.1:${port}`, { max_tokens: 1 }, { authorization: "Bearer sk" })
      assert.strictEqual(answer.status, 200)
      assert.strictEqual(answer.headers.get("x-routed-node"), new URL(simulator.url).host)
    })
  )

  it.live("starts where a backend cannot be reached, and is not ready", () =>
    Effect.gen(function* () {
      const { port, server } = yield* takenPort
      server.close()
      const gateway = yield* serve({ backends: [{ name: "gone", url: `http://127.0.0.1:${port}` }] })
      const ready = yield* ask(`${gateway.url}/readyz`)
      assert.strictEqual(ready.status, 503)
      assert.deepInclude(ready.json, { status: "not_ready" })
      assert.strictEqual((yield* ask(`${gateway.url}/healthz`)).status, 200)
      const answer = yield* chat(gateway.url)
      assert.oneOf(answer.status, [502, 503])
      assert.oneOf(errorOf(answer).code, ["upstream_error", "no_healthy_backend"])
    })
  )

  it.live("starts without any backend, and is not ready", () =>
    Effect.gen(function* () {
      const gateway = yield* serve({})
      assert.strictEqual((yield* ask(`${gateway.url}/readyz`)).status, 503)
      const answer = yield* chat(gateway.url)
      assert.strictEqual(errorOf(answer).code, "no_healthy_backend")
      assert.match(answer.headers.get("retry-after") ?? "", /^\d+$/)
    })
  )

  it.live("says in one line that the port is in use, and exits with 1", () =>
    Effect.gen(function* () {
      const { port } = yield* takenPort
      const program = yield* run(["serve", "--port", String(port)])
      assert.strictEqual(yield* program.ended, 1)
      assert.deepStrictEqual(program.stderr, [`cannot listen on 127.0.0.1:${port}: the port is in use`])
    })
  )

  it.live("refuses to listen beyond this machine with neither keys nor `auth: false`", () =>
    Effect.gen(function* () {
      const program = yield* run(["serve", "--host", "0.0.0.0", "--port", "0"])
      assert.strictEqual(yield* program.ended, 1)
      assert.match(program.stderr.join("\n"), /^--host: listens beyond this machine/m)
    })
  )

  it.live("lists everything that is wrong with a configuration, and exits with 1", () =>
    Effect.gen(function* () {
      const at = yield* folder
      const file = path.join(at, "weir.yaml")
      yield* Effect.promise(() =>
        writeFile(
          file,
          "backends:\n  - {name: a, url: x}\n  - {name: a, url: http://b}\npools: [{name: p, backends: [a], strategy: fastest}]\n"
        )
      )
      const program = yield* run(["serve", "--config", file])
      assert.strictEqual(yield* program.ended, 1)
      const text = program.stderr.join("\n")
      assert.match(text, /^backends\[0\]\.url: .*\(line 2\)$/m)
      assert.match(text, /^backends\[1\]\.name: duplicate backend/m)
      assert.match(text, /^pools\[0\]\.strategy: expected .*least_inflight/m)
    })
  )
})

describe("the command line", () => {
  it.live("ends with 2 for bad arguments, and with 0 for help and version", () =>
    Effect.gen(function* () {
      const statuses: Array<number> = []
      for (const args of [
        ["serve", "--nonsense"],
        ["nonsense"],
        ["serve", "--port", "x"],
        ["--help"],
        ["serve", "--help"],
        ["--version"]
      ]) {
        const program = yield* run(args)
        statuses.push(yield* program.ended)
      }
      assert.deepStrictEqual(statuses, [2, 2, 2, 0, 0, 0])
    })
  )

  it.live("tells the version of the package", () =>
    Effect.gen(function* () {
      const program = yield* run(["--version"])
      yield* program.ended
      const manifest = yield* Effect.promise(() => readFile(path.join(path.dirname(entry), "../package.json"), "utf8"))
      const version = /"version": "([^"]+)"/.exec(manifest)?.[1] ?? "?"
      assert.include(program.stdout.join(" "), version)
    })
  )

  it.live("checks a configuration: 0 and no secret, or 1 and every problem on a line of its own", () =>
    Effect.gen(function* () {
      const at = yield* folder
      const good = path.join(at, "good.yaml")
      const bad = path.join(at, "bad.yaml")
      yield* Effect.promise(() =>
        writeFile(good, "backends: [{name: a, url: http://b, auth: {type: bearer, token: hunter2}}]\n")
      )
      yield* Effect.promise(() => writeFile(bad, "backends: [{name: a, url: nonsense, wieght: 2}]\n"))
      const valid = yield* run(["check", "--config", good])
      assert.strictEqual(yield* valid.ended, 0)
      assert.include(valid.stdout.join("\n"), "token: <redacted>")
      assert.notInclude(valid.stdout.join("\n"), "hunter2")
      const invalid = yield* run(["check", "--config", bad])
      assert.strictEqual(yield* invalid.ended, 1)
      assert.strictEqual(invalid.stderr.length, 2)
      assert.match(invalid.stderr.join("\n"), /^backends\[0\]\.wieght: unknown key; did you mean weight\?/m)
      const asJson = yield* run(["check", "--json", "--config", good])
      assert.strictEqual(yield* asJson.ended, 0)
      assert.deepInclude(JSON.parse(asJson.stdout.join("")), {
        state: { store: "memory", path: "./data", url: "<redacted>" }
      })
    })
  )

  it.live("hashes a key into the form that the configuration takes", () =>
    Effect.gen(function* () {
      const program = yield* run(["hash-key", "sk-secret"])
      assert.strictEqual(yield* program.ended, 0)
      const sha256 = program.stdout[0] ?? ""
      const gateway = yield* serve({ keys: [{ name: "k", sha256 }] })
      const answer = yield* ask(`${gateway.url}/v1/models`, { headers: { authorization: "Bearer sk-secret" } })
      assert.strictEqual(answer.status, 200)
    })
  )
})

describe("an older Node", () => {
  // Takes itself for Node 20, but only the process that the test starts does; the one it hands over to does not.
  const pretend = (parent: number) =>
    `data:text/javascript,if (process.ppid === ${parent}) Object.defineProperty(process.versions, "node", { value: "20.0.0" })`

  it.live("hands over to the Node that came along: arguments, streams, signals and exit status", () =>
    Effect.gen(function* () {
      const env = { NODE_OPTIONS: `--import=${encodeURI(pretend(process.pid))}` }
      const bad = yield* run(["serve", "--nonsense"], { env })
      assert.strictEqual(yield* bad.ended, 2)
      const program = yield* run(["serve", "--port", "0"], { env })
      yield* eventually(
        Effect.sync(() => (program.stderr.some((each) => each.includes('"listening"')) ? true : undefined)),
        () => program.stderr.join("\n")
      )
      yield* program.signal("SIGTERM")
      assert.strictEqual(yield* program.ended, 0)
    })
  )
})

describe.skipIf(process.platform === "win32")("what V8 compiled", () => {
  const version = Effect.fnUntraced(function* (env: Readonly<Record<string, string>>) {
    const program = yield* run(["--version"], { env })
    assert.strictEqual(yield* program.ended, 0)
  })

  const kept = (at: string) =>
    Effect.promise(async () => (await readdir(path.join(at, "weir/compiled"), { recursive: true })).length)

  it.live("is kept for the next start, where only this user may write", () =>
    Effect.gen(function* () {
      const at = yield* folder
      yield* version({ XDG_CACHE_HOME: at })
      assert.isAbove(yield* kept(at), 100)
      const { mode } = yield* Effect.promise(() => stat(path.join(at, "weir/compiled")))
      assert.strictEqual(mode & 0o077, 0)
      yield* version({ XDG_CACHE_HOME: at })
    })
  )

  it.live("is not kept where others may write, where no folder can be had, or where Node is told not to", () =>
    Effect.gen(function* () {
      const at = yield* folder
      const shared = path.join(at, "weir/compiled")
      yield* Effect.promise(() => mkdir(shared, { recursive: true }))
      yield* version({ XDG_CACHE_HOME: at, NODE_DISABLE_COMPILE_CACHE: "1" })
      assert.strictEqual(yield* kept(at), 0)
      yield* Effect.promise(() => chmod(shared, 0o777))
      yield* version({ XDG_CACHE_HOME: at })
      assert.strictEqual(yield* kept(at), 0)
      yield* version({ XDG_CACHE_HOME: "/dev/null" })
    })
  )
})
