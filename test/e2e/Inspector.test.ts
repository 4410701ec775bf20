/** SIGUSR1 opens no inspector: a signal, or access to loopback, gives no way into the process. */
import { createServer } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { listen } from "../transport/Origin.ts"
import { ask } from "./Ask.ts"
import { eventually, type Program, run, serve } from "./Program.ts"

const startedOn = (port: number) => [`--inspect-port=${port}`]

/** A port that is free as far as anything here knows. */
const freePort = Effect.scoped(Effect.suspend(() => listen(createServer())))

const answers = (port: number) =>
  Effect.promise(() =>
    fetch(`http://127.0.0.1:${port}/json/list`).then(
      (response) => response.ok,
      () => false
    )
  )

const says = (program: Program, text: string) =>
  eventually(
    Effect.sync(() => ([...program.stdout, ...program.stderr].some((line) => line.includes(text)) ? true : undefined)),
    () => [...program.stdout, ...program.stderr].join("\n")
  )

/** Three of them, each seen by what the program still does afterwards. */
const knock = Effect.fnUntraced(function* (program: Program, port: number, alive: Effect.Effect<unknown>) {
  for (let times = 0; times < 3; times++) {
    yield* program.signal("SIGUSR1")
    yield* alive
  }
  yield* Effect.sleep("200 millis")
  assert.isFalse(yield* answers(port))
  yield* program.signal("SIGTERM")
  const status = yield* program.ended
  assert.notInclude(program.stderr.join("\n"), "Debugger listening")
  return status
})

describe("SIGUSR1", () => {
  it.live("leaves the gateway serving, and its inspector shut", () =>
    Effect.gen(function* () {
      const port = yield* freePort
      const gateway = yield* serve({}, { flags: startedOn(port) })
      const alive = Effect.map(ask(`${gateway.url}/healthz`), ({ status }) => assert.strictEqual(status, 200))
      assert.strictEqual(yield* knock(gateway, port, alive), 0)
    })
  )

  it.live("leaves the simulated engine serving, and its inspector shut", () =>
    Effect.gen(function* () {
      const [port, own] = [yield* freePort, yield* freePort]
      const program = yield* run(["sim", "--port", String(own)], { flags: startedOn(port) })
      yield* says(program, String(own))
      const alive = Effect.map(ask(`http://127.0.0.1:${own}/health`), ({ status }) => assert.strictEqual(status, 200))
      assert.strictEqual(yield* knock(program, port, alive), 0)
    })
  )

  it.live("leaves the demo serving, and its inspector shut", () =>
    Effect.gen(function* () {
      const [port, own] = [yield* freePort, yield* freePort]
      const program = yield* run(["demo", "--port", String(own)], { flags: startedOn(port) })
      yield* says(program, `127.0.0.1:${own}`)
      const alive = Effect.map(ask(`http://127.0.0.1:${own}/healthz`), ({ status }) => assert.strictEqual(status, 200))
      assert.strictEqual(yield* knock(program, port, alive), 0)
    })
  )

  it.live("does the same where an older Node handed over", () =>
    Effect.gen(function* () {
      const port = yield* freePort
      // Takes itself for Node 20, but only the process that the test starts does.
      const pretend = `data:text/javascript,if (process.ppid === ${process.pid}) Object.defineProperty(process.versions, "node", { value: "20.0.0" })`
      const gateway = yield* serve(
        {},
        { flags: startedOn(port), env: { NODE_OPTIONS: `--import=${encodeURI(pretend)}` } }
      )
      const alive = Effect.map(ask(`${gateway.url}/healthz`), ({ status }) => assert.strictEqual(status, 200))
      assert.strictEqual(yield* knock(gateway, port, alive), 0)
    })
  )

  for (const millis of [0, 5, 100]) {
    it.live(`${millis} ms before the program runs opens nothing that stays open`, () =>
      Effect.gen(function* () {
        const port = yield* freePort
        // Node takes a signal from its first moment on, the program only when it is loaded.
        const early = `process.kill(process.pid,"SIGUSR1");const t=Date.now();while(Date.now()-t<${millis});`
        const gateway = yield* serve(
          {},
          { flags: [...startedOn(port), `--import=data:text/javascript,${encodeURIComponent(early)}`] }
        )
        yield* eventually(
          Effect.map(answers(port), (is) => (is ? undefined : true)),
          () => "the inspector stays open"
        )
        // Nor does it open again.
        yield* Effect.sleep("300 millis")
        assert.isFalse(yield* answers(port))
        yield* gateway.signal("SIGTERM")
        assert.strictEqual(yield* gateway.ended, 0)
      })
    )
  }

  it.live("leaves --inspect as it ever was", () =>
    Effect.gen(function* () {
      const port = yield* freePort
      const gateway = yield* serve({}, { flags: [`--inspect=127.0.0.1:${port}`] })
      yield* ask(`${gateway.url}/healthz`)
      assert.isTrue(yield* answers(port))
    })
  )
})
