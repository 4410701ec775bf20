import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { statusOf } from "../../src/registry/BackendStatus.ts"
import { inProcess } from "../../src/registry/Capacity.ts"
import { lone, occupy, setCircuit } from "./Fixtures.ts"

const limits = { unhealthyAfter: 1, healthyAfter: 1 }

describe("a backend's state as people see it", () => {
  it.effect("is disabled where it is configured so, whatever its probes say", () =>
    Effect.gen(function* () {
      const { entry } = yield* lone({ enabled: false })
      entry.state.health.probed("unhealthy", limits, 0, 0)
      assert.strictEqual(statusOf(entry, inProcess, 0), "disabled")
    })
  )

  it.effect("is unknown before the first probe and healthy after a good one", () =>
    Effect.gen(function* () {
      const { entry } = yield* lone()
      assert.strictEqual(statusOf(entry, inProcess, 0), "unknown")
      entry.state.health.probed("healthy", limits, 0, 0)
      assert.strictEqual(statusOf(entry, inProcess, 0), "healthy")
    })
  )

  it.effect("shows what a probe said before anything that traffic says", () =>
    Effect.gen(function* () {
      const { entry } = yield* lone({ maxConcurrency: 1 })
      const { state } = entry
      occupy(entry, 1)
      state.rest(100, true)
      setCircuit(state, { phase: "open" })
      state.health.probed("misconfigured", limits, 0, 0)
      assert.strictEqual(statusOf(entry, inProcess, 0), "misconfigured")
    })
  )

  it.effect("is rate_limited until its Retry-After is over, not a moment longer", () =>
    Effect.gen(function* () {
      const { entry } = yield* lone()
      entry.state.health.probed("healthy", limits, 0, 0)
      entry.state.rest(5000, true)
      assert.strictEqual(statusOf(entry, inProcess, 4999), "rate_limited")
      assert.strictEqual(statusOf(entry, inProcess, 5000), "healthy")
    })
  )

  for (const phase of ["open", "half_open"] as const) {
    it.effect(`is degraded while its circuit is ${phase}`, () =>
      Effect.gen(function* () {
        const { entry } = yield* lone()
        entry.state.health.probed("healthy", limits, 0, 0)
        setCircuit(entry.state, { phase })
        assert.strictEqual(statusOf(entry, inProcess, 0), "degraded")
      })
    )
  }

  it.effect("is busy at its limit, and never without one", () =>
    Effect.gen(function* () {
      const limited = (yield* lone({ maxConcurrency: 2 })).entry
      const free = (yield* lone()).entry
      for (const entry of [limited, free]) {
        entry.state.health.probed("healthy", limits, 0, 0)
        occupy(entry, 2)
      }
      assert.strictEqual(statusOf(limited, inProcess, 0), "busy")
      assert.strictEqual(statusOf(free, inProcess, 0), "healthy")
      occupy(limited, 1)
      assert.strictEqual(statusOf(limited, inProcess, 0), "healthy")
    })
  )

  it.effect("is busy by the rule that choosing goes by, also where others count as well", () =>
    Effect.gen(function* () {
      const { entry } = yield* lone({ maxConcurrency: 2 })
      entry.state.health.probed("healthy", limits, 0, 0)
      assert.strictEqual(statusOf(entry, { ...inProcess, hasRoom: () => false }, 0), "busy")
    })
  )
})
