/** The log follows what the configuration says of its level and form, from the next line on. */
import { Effect, Layer } from "effect"
import { Registry } from "../registry/Registry.ts"
import { LogSettings } from "../telemetry/Telemetry.ts"

export const layerLogFollower = Layer.effectDiscard(
  Effect.gen(function* () {
    const registry = yield* Registry
    const { change } = yield* LogSettings
    yield* registry.follow(({ config }) => Effect.sync(() => change(config.telemetry.logs)))
  })
)
