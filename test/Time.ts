/** The clock and the time-outs as a program has them; under a test clock, in virtual time. */
import { Layer } from "effect"
import { MonotonicClock } from "../src/domain/MonotonicClock.ts"
import { Timers } from "../src/resilience/Timers.ts"

export const layerTime = Timers.layer.pipe(Layer.provideMerge(MonotonicClock.layer))
