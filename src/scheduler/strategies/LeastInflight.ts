import type { BackendState, LoadColumns, Member } from "../../registry/Registry.ts"
import { costNow, shareSince } from "../SlowStart.ts"
import type { Strategy } from "../Strategy.ts"
import { RoundRobinCursor } from "./RoundRobinCursor.ts"

/**
 * The smallest (in-flight + 1) / weight: with the 1, weights count on an idle pool too. Ties go to the lower average
 * latency, where a backend without samples is first, so that it gets some; what still ties takes cursor.
 */
export const leastInflight = (): Strategy => {
  const cursor = new RoundRobinCursor()
  const rows = new WeakMap<ReadonlyArray<Member>, Row>()
  const rowOf = (members: ReadonlyArray<Member>, first: Member): Row => {
    const known = rows.get(members)
    if (known !== undefined) return known
    const row = makeRow(members, first.backend.state)
    rows.set(members, row)
    return row
  }
  return {
    scoresOf: (members, { now }) => members.map((member) => costNow(member, now)),
    choose: (members, { now, usable }) => {
      if (members[0] === undefined) return undefined
      const { columns, slots, weights } = rowOf(members, members[0])
      const { recoveredAt, inflight, latency: averages } = columns
      let best: Member | undefined
      let bestCost = Number.POSITIVE_INFINITY
      let bestLatency = Number.POSITIVE_INFINITY
      const count = members.length
      const start = cursor.take(members)
      for (let step = 0; step < count; step++) {
        const turn = start + step
        const position = turn < count ? turn : turn - count
        const slot = slots[position] ?? 0
        const weight = weights[position] ?? 0
        const next = (inflight[slot] ?? 0) + 1
        // At its full weight it costs the least.
        if (next / weight > bestCost) continue
        const cost = next / (weight * shareSince(now - (recoveredAt[slot] ?? 0)))
        if (cost > bestCost) continue
        const latency = averages[slot] ?? 0
        if (cost === bestCost && latency >= bestLatency) continue
        const member = members[position]
        if (member === undefined || !usable(member)) continue
        best = member
        bestCost = cost
        bestLatency = latency
      }
      return best
    }
  }
}

/** Some candidates in their order, for a look along the {@link LoadColumns}. */
interface Row {
  readonly columns: LoadColumns
  readonly slots: Uint32Array
  readonly weights: Float64Array
}

const makeRow = (members: ReadonlyArray<Member>, { columns }: BackendState): Row => ({
  columns,
  slots: Uint32Array.from(members, ({ backend }) => backend.state.slot),
  weights: Float64Array.from(members, ({ weight }) => weight)
})
