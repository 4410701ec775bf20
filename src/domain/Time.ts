/** Time as the program measures it. */
import type { Clock } from "effect"

/**
 * Monotonic milliseconds with a fraction: for measuring how long things take and when they are due. The origin is
 * arbitrary; under a test clock it is virtual.
 */
export const monotonicMillis = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
