/** A configuration that cannot be read to its end, or takes everything away: the gateway goes on, and can be stopped. */
import { execFile, execFileSync } from "node:child_process"
import { renameSync, rmSync, writeFileSync } from "node:fs"
import * as path from "node:path"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { folderWith } from "../Folder.ts"
import { ask } from "./Ask.ts"
import { entry, eventually, type Gateway, run, serve } from "./Program.ts"

const lines = (gateway: Gateway, text: string) => gateway.stderr.filter((line) => line.includes(text))

/** The line that has this text, when it is there for the `count`th time. */
const told = (gateway: Gateway, text: string, count = 1) =>
  eventually(
    Effect.sync(() => lines(gateway, text)[count - 1]),
    () => gateway.stderr.join("\n")
  )

const serving = (gateway: Gateway) =>
  Effect.map(ask(`${gateway.url}/healthz`), ({ status }) => assert.strictEqual(status, 200))

const replaceByPipe = (file: string) =>
  Effect.sync(() => {
    rmSync(file)
    execFileSync("mkfifo", [file])
  })

const replaceByText = (file: string, config: object) =>
  Effect.sync(() => {
    writeFileSync(`${file}.new`, JSON.stringify({ listeners: [{ port: 0 }], ...config }))
    renameSync(`${file}.new`, file)
  })

describe("a configuration that becomes a pipe that nothing writes to", () => {
  it.live("is refused within five seconds, again and again; then a good one is applied, and SIGTERM ends with 0", () =>
    Effect.gen(function* () {
      const gateway = yield* serve({})
      yield* replaceByPipe(gateway.file)
      for (const count of [1, 2, 3]) {
        yield* gateway.signal("SIGHUP")
        const [took, line] = yield* Effect.timed(told(gateway, '"trigger":"signal"', count))
        assert.include(line, "does not end within 4 seconds")
        assert.isBelow(Duration.toMillis(took), 7000)
        yield* serving(gateway)
      }
      yield* replaceByText(gateway.file, { limits: { maxBodyBytes: 1024 } })
      yield* told(gateway, "limits changed")
      yield* gateway.signal("SIGTERM")
      assert.strictEqual(yield* gateway.ended, 0)
    })
  )

  it.live("does not hold up SIGTERM while it is being read", () =>
    Effect.gen(function* () {
      const gateway = yield* serve({})
      yield* replaceByPipe(gateway.file)
      yield* gateway.signal("SIGHUP")
      yield* serving(gateway)
      yield* gateway.signal("SIGTERM")
      const [took, status] = yield* Effect.timed(gateway.ended)
      assert.strictEqual(status, 0)
      assert.isBelow(Duration.toMillis(took), 4000)
    })
  )

  it.live("is said at the start, which fails", () =>
    Effect.gen(function* () {
      const at = yield* folderWith({})
      const file = path.join(at, "weir.yaml")
      execFileSync("mkfifo", [file])
      const program = yield* run(["serve", "--config", file])
      assert.strictEqual(yield* program.ended, 1)
      assert.match(program.stderr.join("\n"), /weir\.yaml: does not end within 4 seconds/)
    })
  )
})

/** Makes Node open files of that name as any program would: a pipe without a writer then keeps a thread, as a mount can. */
const hangingOpen = `
import fs from "node:fs/promises"
import { syncBuiltinESMExports } from "node:module"
const { open } = fs
fs.open = (file, flags) => open(file, String(file).endsWith("weir.yaml") ? "r" : flags)
syncBuiltinESMExports()`

describe("a configuration on a mount that hangs for good", () => {
  it.live("costs one thread, whatever is tried; names are looked up, and SIGTERM ends with 0", () =>
    Effect.gen(function* () {
      const gateway = yield* serve({}, { flags: [`--import=data:text/javascript,${encodeURIComponent(hangingOpen)}`] })
      yield* replaceByPipe(gateway.file)
      for (const count of [1, 2, 3, 4, 5, 6]) {
        yield* gateway.signal("SIGHUP")
        yield* told(gateway, "does not end within", count)
        yield* serving(gateway)
      }
      yield* gateway.signal("SIGTERM")
      assert.strictEqual(yield* gateway.ended, 0)
    })
  )
})

describe("a configuration from a pipe that ends", () => {
  const check = (script: string) =>
    Effect.promise(() => promisify(execFile)("bash", ["-c", script, "bash", process.execPath, entry]))

  for (const [what, script] of [
    [
      "a process substitution",
      `"$1" "$2" check --config <(echo 'defaults: &d {}' >/dev/null; echo 'server: { shutdownGrace: 7s }')`
    ],
    ["standard input", `echo 'server: { shutdownGrace: 7s }' | "$1" "$2" check --config /dev/stdin`],
    ["a file as standard input", `"$1" "$2" check --config /dev/stdin < <(echo 'server: { shutdownGrace: 7s }')`]
  ] as const) {
    it.live(`is read: ${what}`, () =>
      Effect.map(check(script), ({ stdout }) => assert.include(stdout, "shutdownGrace: 7s"))
    )
  }
})

describe("a change of the file that takes everything away", () => {
  const backends = [{ name: "a", url: "http://127.0.0.1:9", models: ["m"] }]

  for (const [what, text] of [
    ["is cut off", ""],
    ["holds a comment alone", "# nothing\n"],
    ["has no backends", JSON.stringify({ listeners: [{ port: 0 }], backends: [] })],
    ["has no listeners", JSON.stringify({ backends })]
  ] as const) {
    it.live(`is refused and told, and what runs goes on: a file that ${what}`, () =>
      Effect.gen(function* () {
        const gateway = yield* serve({ backends })
        yield* Effect.sync(() => writeFileSync(gateway.file, text))
        const line = yield* told(gateway, "configuration refused")
        assert.include(line, "SIGHUP")
        const { json } = yield* ask(`${gateway.url}/v1/models`)
        assert.include(JSON.stringify(json), '"m"')
        const { text: metrics } = yield* ask(`${gateway.url}/metrics`)
        assert.include(metrics, 'weir_config_reloads_total{result="refused"} 1')
      })
    )
  }

  it.live("is applied by SIGHUP", () =>
    Effect.gen(function* () {
      const gateway = yield* serve({ backends })
      yield* replaceByText(gateway.file, { backends: [] })
      yield* told(gateway, "configuration refused")
      yield* gateway.signal("SIGHUP")
      yield* told(gateway, "backend a removed")
    })
  )
})
