/** What came of each row of the fault table, printed when all of them are over. */
import { Cause, Effect, Exit } from "effect"

/** One row: what the upstream does, what must come of it, and how that is found out. */
export interface Row {
  readonly id: string
  readonly upstream: string
  readonly expected: string
  readonly run: Effect.Effect<void>
}

interface Mark {
  readonly row: Row
  readonly verdict: string
  readonly millis: number
}

/** Holds the marks of one run of the table. */
export class ScoreCard {
  readonly #marks = new Map<string, Mark>()

  /** Runs a row and notes what came of it; a failure still fails the caller. */
  readonly check = (row: Row): Effect.Effect<void> =>
    Effect.suspend(() => {
      const began = performance.now()
      return Effect.onExit(row.run, (exit) =>
        Effect.sync(() => {
          this.#marks.set(row.id, { row, verdict: verdictOf(exit), millis: performance.now() - began })
        })
      )
    })

  /** In the order of the table; a row that did not come to its end is not a pass. */
  print(rows: ReadonlyArray<Row>): string {
    const lines = rows.map((row) => {
      const mark = this.#marks.get(row.id)
      const time = mark === undefined ? "" : `${(mark.millis / 1000).toFixed(1)} s`
      return `${row.id}  ${time.padStart(7)}  ${row.upstream.padEnd(64)}  ${mark?.verdict ?? "did not end"}`
    })
    const passed = rows.filter(({ id }) => this.#marks.get(id)?.verdict === "pass").length
    return ["", `Fault table: ${passed} of ${rows.length} pass`, ...lines, ""].join("\n")
  }
}

const verdictOf = (exit: Exit.Exit<void>): string =>
  Exit.isSuccess(exit) ? "pass" : (Cause.pretty(exit.cause).split("\n")[0] ?? "failed")
