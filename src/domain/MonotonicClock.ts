/**
 * The clock by which the program measures how long things take and when they are due: monotonic milliseconds with a
 * fraction. The origin is arbitrary; under a test clock time is virtual.
 *
 * The rule: a plain function gets `now` as a parameter, and so does a service's method that is only a part of another's
 * step (`Scheduler.pick`, `Router.route`, `Metrics.sweep`). Any other method of a service reads the clock once and passes
 * that on, so that all of one step happens at one time. What is called back later, by a socket, keeps the clock itself.
 */
import { Clock, Context, Effect, Layer } from "effect"

/** The clock of a program that runs for real. */
const live = Context.get(Context.empty(), Clock.Clock)

export class MonotonicClock extends Context.Service<
  MonotonicClock,
  {
    readonly now: () => number
  }
>()("weir/domain/MonotonicClock") {
  /** Over Effect's clock in force when it is built. */
  static readonly layer = Layer.effect(
    MonotonicClock,
    Effect.map(Clock.Clock, (clock) => MonotonicClock.of({ now: readerOf(clock) }))
  )
}

/** Read a dozen times for every request: the live clock tells nanoseconds as a `bigint`, which would make an object. */
const readerOf = (clock: Clock.Clock): (() => number) =>
  clock === live ? () => performance.now() : () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
