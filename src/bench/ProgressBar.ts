/** A line on the terminal that shows how far a run is. Where there is no terminal there is none. */
import { Effect, Fiber, Schedule, Stdio, Stream } from "effect"

const width = 30

const render = (label: string, done: number, total: number, failed: number): string => {
  const filled = Math.floor((done / Math.max(1, total)) * width)
  const trouble = failed === 0 ? "" : `, ${failed} failed`
  return `${label} [${"#".repeat(filled)}${"-".repeat(width - filled)}] ${done}/${total}${trouble}`
}

const clear = "\r\u001b[K"

/** Runs `use` under a bar on standard error; `use` tells it of every request. The bar is gone afterwards. */
export const withProgressBar = <A, E, R>(
  label: string,
  total: number,
  use: (tell: (succeeded: boolean) => void) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R | Stdio.Stdio> =>
  Effect.gen(function* () {
    const stdio = yield* Stdio.Stdio
    if (!(yield* stdio.stderrIsTerminal)) return yield* use(() => {})
    let done = 0
    let failed = 0
    // A terminal that is gone is no reason to stop.
    const write = (text: string) => Effect.ignore(Stream.run(Stream.make(text), stdio.stderr({ endOnDone: false })))
    const paint = Effect.suspend(() => write(clear + render(label, done, total, failed)))
    const painter = yield* Effect.forkChild(Effect.repeat(paint, Schedule.spaced("100 millis")), {
      startImmediately: true
    })
    return yield* use((succeeded) => {
      done++
      if (!succeeded) failed++
    }).pipe(Effect.ensuring(Effect.andThen(Fiber.interrupt(painter), write(clear))))
  })
