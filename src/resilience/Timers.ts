/**
 * Time-outs for what happens on every request. Setting a timer for each would cost more than the rest of the gateway;
 * here a due time is a number in a set, moved by writing it, and one fiber looks through the set every 20 ms.
 */
import { Context, Effect, Latch, Layer } from "effect"
import { Bag, type Bagged } from "../domain/Bag.ts"
import { MonotonicClock } from "../domain/MonotonicClock.ts"

/** Something that must be told when its time has come. */
export interface Timed extends Bagged {
  /** Monotonic milliseconds; may be moved at any time. `Infinity`: not due. Set to that before `expire` is called. */
  dueAt: number
  readonly expire: (now: number) => void
}

const resolution = "20 millis"

export class Timers extends Context.Service<
  Timers,
  {
    readonly add: (timed: Timed) => void
    readonly remove: (timed: Timed) => void
  }
>()("weir/resilience/Timers") {
  /** Due times are met to 20 ms, never early. */
  static readonly layer = Layer.effect(
    Timers,
    Effect.gen(function* () {
      const clock = yield* MonotonicClock
      const pending = new Bag<Timed>()
      const busy = Latch.makeUnsafe(false)

      const look = () => {
        const now = clock.now()
        pending.each((timed) => {
          if (timed.dueAt > now) return
          timed.dueAt = Number.POSITIVE_INFINITY
          timed.expire(now)
        })
        if (pending.size === 0) busy.closeUnsafe()
      }
      yield* busy.await.pipe(
        Effect.andThen(Effect.sleep(resolution)),
        // What one owner does wrong when it is told must not take the time-outs of all others away.
        Effect.andThen(Effect.catchCause(Effect.sync(look), (cause) => Effect.logError("deadline failed", cause))),
        Effect.forever,
        Effect.forkScoped
      )

      return Timers.of({
        add: (timed) => {
          if (pending.size === 0) busy.openUnsafe()
          pending.add(timed)
        },
        remove: (timed) => {
          pending.delete(timed)
        }
      })
    })
  )
}
