/** What a reader must know before believing the figures. */
import { summarize } from "../Statistics.ts"
import type { CaseNote } from "./Book.ts"

/** Below this, more was due than a subject could do: its latencies are those of a growing queue. */
const keptEnough = 0.95

/** More than a program's own helpers account for: others had the core. */
const muchWaiting = 0.25

/** In a smaller share of the measurements that may happen on any machine. */
const often = 0.1

const percent = (share: number): string => `${Math.round(share * 100)} %`

export const troubles = (cases: ReadonlyArray<CaseNote>): ReadonlyArray<string> => {
  return cases.flatMap(({ id, subjects }) =>
    Object.entries(subjects).flatMap(([subject, rounds]) => {
      const failed = rounds.reduce((sum, { failed = 0 }) => sum + failed, 0)
      const kept = summarize(rounds.flatMap(({ kept = [] }) => kept))
      return [
        ...(failed > 0 ? [`${id}, ${subject}: ${failed} requests or streams failed`] : []),
        ...(kept !== undefined && kept.median < keptEnough
          ? [`${id}, ${subject}: saturated, it did ${percent(kept.median)} of what was due`]
          : [])
      ]
    })
  )
}

/** Whether others had the cores meanwhile; nothing where that was seldom. */
export const busyness = (cases: ReadonlyArray<CaseNote>): ReadonlyArray<string> => {
  const shares = cases.flatMap(({ subjects }) =>
    Object.values(subjects).flatMap((rounds) => rounds.flatMap(({ waited = [] }) => waited))
  )
  const waited = summarize(shares)
  const busy = shares.filter((share) => share > muchWaiting).length / shares.length
  if (waited === undefined || busy < often) return []
  return [
    `**The machine was busy:** in ${percent(busy)} of the measurements the subject waited more than ` +
      `${percent(muchWaiting)} of the time for its core (median of all ${percent(waited.median)}). ` +
      "Latencies and rates are worth nothing then, ratios of CPU time little."
  ]
}
