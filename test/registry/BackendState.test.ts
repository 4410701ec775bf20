import { assert, describe, it } from "@effect/vitest"
import type { ModelInfo } from "../../src/domain/Health.ts"
import { BackendState } from "../../src/registry/BackendState.ts"
import { LoadColumns } from "../../src/registry/LoadColumns.ts"
import { setCircuit } from "./Fixtures.ts"

const models = (...ids: ReadonlyArray<string>): ReadonlyMap<string, ModelInfo> =>
  new Map(ids.map((id) => [id, { id, created: 0, ownedBy: "x" }]))

describe("what discovery finds", () => {
  it("is nothing before it has found something, which is not the same as no models", () => {
    const state = new BackendState("a", new LoadColumns())
    assert.strictEqual(state.models, undefined)
    assert.isTrue(state.setModels(models(), 0))
    assert.deepStrictEqual(state.models, new Map())
  })

  it("counts as changed exactly when the names did", () => {
    const state = new BackendState("a", new LoadColumns())
    assert.isTrue(state.setModels(models("m", "n"), 0))
    assert.isFalse(state.setModels(models("n", "m"), 0))
    assert.isTrue(state.setModels(models("m", "o"), 0))
    assert.isTrue(state.setModels(models("m"), 0))
    assert.isTrue(state.setModels(undefined, 0))
    assert.isFalse(state.setModels(undefined, 0))
  })

  it("replaces what was known of a model even where the names are the same", () => {
    const state = new BackendState("a", new LoadColumns())
    state.setModels(models("m"), 0)
    state.setModels(new Map([["m", { id: "m", created: 7, ownedBy: "y" }]]), 0)
    assert.deepStrictEqual(state.models?.get("m"), { id: "m", created: 7, ownedBy: "y" })
  })
})

describe("a probe that finds a backend alive again", () => {
  const limits = { unhealthyAfter: 1, healthyAfter: 1 }
  const dead = (): BackendState => {
    const state = new BackendState("a", new LoadColumns())
    state.probed("unhealthy", limits, 0, 0)
    setCircuit(state, { phase: "open", openUntil: 30_000 })
    return state
  }

  it("ends the cooldown of its circuit: what that remembers is of before", () => {
    const state = dead()
    state.probed("unhealthy", limits, 0, 1000)
    assert.strictEqual(state.circuit.openUntil, 30_000)
    state.probed("healthy", limits, 0, 2000)
    assert.deepStrictEqual(state.circuit, { phase: "open", openUntil: 2000, trialRunning: false })
  })

  it("does not make it longer where it was over", () => {
    const state = dead()
    state.probed("healthy", limits, 0, 50_000)
    assert.strictEqual(state.circuit.openUntil, 30_000)
  })

  it("ends the cooldown of a circuit: the next request is its trial", () => {
    const state = new BackendState("a", new LoadColumns())
    state.probed("healthy", limits, 0, 0)
    setCircuit(state, { phase: "open", openUntil: 30_000 })
    state.probed("healthy", limits, 0, 1000)
    assert.deepStrictEqual([state.circuit.phase, state.circuit.openUntil], ["open", 1000])
  })
})

describe("what a backend tells of itself", () => {
  const idle = { running: 0, waiting: 0, kvCacheUsage: 0 }

  it("shows that it was restarted between two probes: what it had cached is gone, and it begins with little", () => {
    const state = new BackendState("a", new LoadColumns())
    state.reported({ ...idle, startedAt: 1000.5 }, 10)
    state.reported({ ...idle, startedAt: 1000.5 }, 20)
    assert.deepStrictEqual([state.generation, state.recoveredAt], [0, Number.NEGATIVE_INFINITY])
    state.reported({ ...idle, startedAt: 2000.5 }, 30)
    assert.deepStrictEqual([state.generation, state.recoveredAt], [1, 30])
  })

  it("shows no restart where it does not tell when it was started", () => {
    const state = new BackendState("a", new LoadColumns())
    state.reported({ ...idle, startedAt: 1000 }, 10)
    state.reported(idle, 20)
    state.reported({ ...idle, startedAt: 2000 }, 30)
    assert.strictEqual(state.generation, 0)
  })

  it("shows how many slots it has, when a request waits in it", () => {
    const state = new BackendState("a", new LoadColumns())
    state.reported({ ...idle, running: 12 }, 10)
    assert.strictEqual(state.slots, Number.POSITIVE_INFINITY)
    state.reported({ ...idle, running: 32, waiting: 1 }, 20)
    state.reported({ ...idle, running: 7 }, 30)
    assert.strictEqual(state.slots, 32)
  })
})
