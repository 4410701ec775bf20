/** Time as the program measures it. */
import { Clock, Context } from "effect"

/** The clock of a program that runs for real. */
const live = Context.get(Context.empty(), Clock.Clock)

/**
 * Monotonic milliseconds with a fraction: for measuring how long things take and when they are due. The origin is
 * arbitrary; under a test clock it is virtual. Asked a dozen times for every request, so the live clock, which tells
 * nanoseconds as a `bigint`, is read in a way that makes no object.
 */
export const monotonicMillis = (clock: Clock.Clock): number =>
  clock === live ? performance.now() : Number(clock.monotonicTimeNanosUnsafe()) / 1e6
