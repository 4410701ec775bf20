import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { awaitingRestart, differences } from "../../src/registry/Differences.ts"
import { configOf } from "./Fixtures.ts"

const a = { name: "a", url: "http://127.0.0.1:1" }
const b = { name: "b", url: "http://127.0.0.1:2" }
const c = { name: "c", url: "http://127.0.0.1:3" }

describe("a change is told", () => {
  it.effect("a change is told as nothing where both say the same, however they say it", () =>
    Effect.gen(function* () {
      const before = yield* configOf({ backends: [a], limits: { maxBodyBytes: "1KiB" }, health: { interval: "1m" } })
      const after = yield* configOf({ health: { interval: "60s" }, backends: [a], limits: { maxBodyBytes: 1024 } })
      assert.deepStrictEqual(differences(before, after), [])
    })
  )

  it.effect("a change is told by name: what came, what went, what is different, and that the order is another", () =>
    Effect.gen(function* () {
      const before = yield* configOf({ backends: [a, b], keys: [{ name: "k", key: "one" }] })
      const after = yield* configOf({
        backends: [c, { ...b, weight: 2 }],
        keys: [{ name: "k", key: "two" }],
        limits: { maxBodyBytes: 1 }
      })
      const told = differences(before, after)
      assert.deepStrictEqual(told, [
        "backend a removed",
        "backend c added",
        "backend b changed",
        "key k changed",
        "limits changed"
      ])
      const named = yield* configOf({ backends: [a, b], keys: [{ name: "k", key: "one" }], defaultModel: "m" })
      assert.deepStrictEqual(differences(before, named), ["defaultModel changed"])
      const swapped = yield* configOf({ backends: [b, a], keys: [{ name: "k", key: "one" }] })
      assert.deepStrictEqual(differences(before, swapped), ["backends in another order"])
    })
  )
})

it.effect("what waits for a restart is what differs from how the process was started, each time anew", () =>
  Effect.gen(function* () {
    const running = yield* configOf({})
    const wanted = yield* configOf({
      server: { workers: 4, reusePort: true, shutdownGrace: "1s" },
      telemetry: { serviceName: "x", logs: { level: "warn" }, traces: { endpoint: "http://127.0.0.1:4318" } },
      state: { store: "file" }
    })
    assert.deepStrictEqual(awaitingRestart(running, wanted), [
      "server.workers",
      "server.reusePort",
      "telemetry.serviceName",
      "telemetry.traces",
      "state"
    ])
    assert.deepStrictEqual(awaitingRestart(running, yield* configOf({})), [])
  })
)
