/** A clock that stands still until it is told what time it is, for the services of the gateway. */
import { type Clock, Effect } from "effect"

/** Nothing that sleeps by it is ever woken: the simulation that moves it does the periodic work. */
export class VirtualClock implements Clock.Clock {
  /** Milliseconds since the beginning. */
  millis = 0
  readonly currentTimeMillis = Effect.sync(() => this.currentTimeMillisUnsafe())
  readonly currentTimeNanos = Effect.sync(() => this.currentTimeNanosUnsafe())
  readonly monotonicTimeNanos = Effect.sync(() => this.monotonicTimeNanosUnsafe())

  currentTimeMillisUnsafe(): number {
    return Math.floor(this.millis)
  }

  currentTimeNanosUnsafe(): bigint {
    return this.monotonicTimeNanosUnsafe()
  }

  monotonicTimeNanosUnsafe(): bigint {
    return BigInt(Math.round(this.millis * 1e6))
  }

  sleep(): Effect.Effect<void> {
    return Effect.never
  }
}
