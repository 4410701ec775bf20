/** How many wait for each pool, read when it is asked for. */
import { Effect, Layer } from "effect"
import { Registry } from "../registry/Registry.ts"
import { Metrics } from "../telemetry/Telemetry.ts"
import { Admission } from "./Admission.ts"

export const layerQueueGauges = Layer.effectDiscard(
  Effect.gen(function* () {
    const registry = yield* Registry
    const admission = yield* Admission
    const metrics = yield* Metrics
    const observed = new Map<string, () => void>()
    yield* registry.follow(({ pools }) =>
      Effect.sync(() => {
        for (const [name, end] of observed) {
          if (pools.has(name)) continue
          end()
          observed.delete(name)
        }
        for (const pool of pools.keys()) {
          if (observed.has(pool)) continue
          const read = () => admission.depth(pool)
          observed.set(pool, metrics.observe("weir_queue_depth", "Requests waiting for a place", { pool }, read))
        }
      })
    )
  })
)
