/**
 * What is going on and since how many seconds, on stderr: one line that is written over where a person watches, lines
 * otherwise.
 */
import { Effect } from "effect"

export const progress = (text: string): Effect.Effect<void> =>
  Effect.sync(() => {
    const { stderr } = process
    const line = `${Math.floor(performance.now() / 1000)} s  ${text}`
    stderr.write(stderr.isTTY ? `\r\u001b[K${line.slice(0, stderr.columns - 1)}` : `${line}\n`)
  })

/** Leaves the line that was written over. */
export const progressEnd: Effect.Effect<void> = Effect.sync(() => {
  if (process.stderr.isTTY) process.stderr.write("\r\u001b[K")
})
