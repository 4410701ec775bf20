/** Tells of a shortage of this process's own in the log: at once, and then in sum, since each request would tell of it. */
import { closeSync, openSync } from "node:fs"
import { devNull } from "node:os"
import { Effect, Option } from "effect"
import { MonotonicClock } from "../domain/MonotonicClock.ts"
import { remedyFor } from "../domain/Shortage.ts"

const openAndClose = Option.liftThrowable(() => closeSync(openSync(devNull, "r")))

/** Whether this process can open nothing any more. To be asked where an error may be due to that and does not say so. */
export const lacksDescriptors = (): boolean => Option.isNone(openAndClose())

/** So long after a line the next one waits, and says how often it happened meanwhile. */
const foldedMillis = 30_000

interface Told {
  at: number
  /** Since then, untold. */
  times: number
}

/** `code` as the operating system has it; `where`: what failed for it. Each pair has lines of its own. */
export type TellShortage = (code: string, where: string) => Effect.Effect<void>

export const makeTellShortage: Effect.Effect<TellShortage, never, MonotonicClock> = Effect.map(
  MonotonicClock,
  (clock) => {
    const told = new Map<string, Told>()
    return (code, where) =>
      Effect.suspend(() => {
        const now = clock.now()
        const key = `${code} ${where}`
        const last = told.get(key)
        if (last !== undefined && now - last.at < foldedMillis) {
          last.times++
          return Effect.void
        }
        told.set(key, { at: now, times: 0 })
        const since = last !== undefined && last.times > 0 && { alsoSinceTheLastLine: last.times }
        return Effect.logWarning(`own shortage: ${remedyFor(code)}`, { code, where, ...since })
      })
  }
)
