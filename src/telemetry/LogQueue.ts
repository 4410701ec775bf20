/** Log lines from plain functions, which cannot log themselves. */
import { Effect, Queue, type Scope } from "effect"

/** Lines that wait to be logged; more than that at once are not worth reading and are dropped. */
const maxPendingLines = 1024

/** Each line that the result is called with is logged in its turn, until the scope ends. */
export const makeLogQueue = Effect.fnUntraced(function* <A>(
  log: (line: A) => Effect.Effect<void>
): Effect.fn.Return<(line: A) => void, never, Scope.Scope> {
  const lines = yield* Queue.dropping<A>(maxPendingLines)
  yield* Queue.take(lines).pipe(Effect.flatMap(log), Effect.forever, Effect.forkScoped)
  return (line) => {
    Queue.offerUnsafe(lines, line)
  }
})
