/** What a reader must know before believing the figures. */
import { summarize } from "../Statistics.ts"
import type { CaseNote } from "./Book.ts"

/** Below this, more was due than a subject could do: its latencies are those of a growing queue. */
const keptEnough = 0.95

/** More than a program's own helpers account for: others had the core. */
const muchWaiting = 0.25

const percent = (share: number): string => `${Math.round(share * 100)} %`

export const troubles = (cases: ReadonlyArray<CaseNote>): ReadonlyArray<string> => {
  const shares = cases.flatMap(({ subjects }) =>
    Object.values(subjects).flatMap((rounds) => rounds.flatMap(({ waited = [] }) => waited))
  )
  const waited = summarize(shares)
  const busy = shares.filter((share) => share > muchWaiting).length / shares.length
  return [
    ...cases.flatMap(({ id, subjects }) =>
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
    ),
    ...(waited === undefined || busy === 0
      ? []
      : [
          `in ${percent(busy)} of the measurements the subject waited more than ${percent(muchWaiting)} of the time ` +
            `for its core (median of all ${percent(waited.median)}): its own helpers, or other programs on this machine`
        ])
  ]
}
