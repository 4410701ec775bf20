import { assert, describe, it } from "@effect/vitest"
import { BackendState } from "../../src/registry/BackendState.ts"
import { Scoreboard } from "../../src/registry/LoadColumns.ts"
import { collectUntil } from "../Garbage.ts"

describe("the scoreboard", () => {
  it("keeps apart what is true of each backend, however many there are", () => {
    const board = new Scoreboard()
    const states = Array.from({ length: 100 }, (_, index) => {
      const state = new BackendState(`n${index}`, board)
      state.inflight = index
      state.latency.record(index * 10, 0)
      state.backAt = -index
      return state
    })
    for (const [index, { backAt, inflight, latency, seat }] of states.entries()) {
      assert.deepStrictEqual([inflight, latency.average, backAt], [index, index * 10, -index])
      assert.deepStrictEqual([board.inflight[seat], board.latency[seat]], [index, index * 10])
    }
  })

  it("gives a seat to somebody else when nobody has its backend any more, and clean", async () => {
    const board = new Scoreboard()
    const stays = new BackendState("stays", board)
    const free = ((gone: BackendState) => {
      gone.inflight = 7
      gone.latency.record(50, 0)
      gone.backAt = 9
      return gone.seat
    })(new BackendState("gone", board))
    const seats: Array<number> = []
    const isReused = () => {
      seats.push(new BackendState("new", board).seat)
      return seats.includes(free)
    }
    assert.isTrue(await collectUntil(isReused))
    assert.deepStrictEqual([board.inflight[free], board.latency[free]], [0, 0])
    assert.strictEqual(board.backAt[free], Number.NEGATIVE_INFINITY)
    assert.notInclude(seats, stays.seat)
  })
})
