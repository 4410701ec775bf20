/** From the start of a process to its first answer, and what it holds in memory before it has done anything. */
import { Effect } from "effect"
import { residentMiB } from "../load/Cpu.ts"
import { Book } from "../report/Book.ts"
import { startBare, startNginx, startWeir } from "../rig/Subjects.ts"
import { CurrentPlan, caseId } from "./Plan.ts"
import { progress } from "./Progress.ts"

/** How long a started process may settle before its memory is read. */
const restMillis = 500

export const measureStartup = Effect.fnUntraced(function* (upstream: number) {
  const plan = yield* CurrentPlan
  const book = yield* Book
  const starts = [
    startWeir("weir", "Weir, default configuration", { upstream }, "/healthz"),
    startBare(upstream),
    startNginx(upstream)
  ]
  for (let round = 0; round < plan.otherRounds; round++) {
    for (const start of starts) {
      yield* Effect.scoped(
        Effect.gen(function* () {
          const subject = yield* start
          if (subject === undefined) return
          const { name, pids, startSeconds } = subject
          yield* Effect.sleep(restMillis)
          book.add("startup", caseId.startup, name, { startSeconds, residentMiB: residentMiB(pids) })
          yield* progress(`${caseId.startup}, ${name}: ${startSeconds.toFixed(3)} s`)
        })
      )
    }
  }
})
