import { assert, describe, it } from "@effect/vitest"
import { BackendState } from "../../src/registry/BackendState.ts"
import { LoadColumns } from "../../src/registry/LoadColumns.ts"
import { collectUntil } from "../Garbage.ts"

describe("the columns of load", () => {
  it("keeps apart what is true of each backend, however many there are", () => {
    const columns = new LoadColumns()
    const states = Array.from({ length: 100 }, (_, index) => {
      const state = new BackendState(`n${index}`, columns)
      state.inflight = index
      state.latency.record(index * 10, 0)
      state.recoveredAt = -index
      return state
    })
    for (const [index, { recoveredAt, inflight, latency, slot }] of states.entries()) {
      assert.deepStrictEqual([inflight, latency.average, recoveredAt], [index, index * 10, -index])
      assert.deepStrictEqual([columns.inflight[slot], columns.latency[slot]], [index, index * 10])
    }
  })

  it("gives the slot of a backend that is gone to another one, and clean", async () => {
    const columns = new LoadColumns()
    const stays = new BackendState("stays", columns)
    const free = ((gone: BackendState) => {
      gone.inflight = 7
      gone.latency.record(50, 0)
      gone.recoveredAt = 9
      return gone.slot
    })(new BackendState("gone", columns))
    const slots: Array<number> = []
    const isReused = () => {
      slots.push(new BackendState("new", columns).slot)
      return slots.includes(free)
    }
    assert.isTrue(await collectUntil(isReused))
    assert.deepStrictEqual([columns.inflight[free], columns.latency[free]], [0, 0])
    assert.strictEqual(columns.recoveredAt[free], Number.NEGATIVE_INFINITY)
    assert.notInclude(slots, stays.slot)
  })
})
