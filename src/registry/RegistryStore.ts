/** Where the registry keeps what must outlive a change; `state.store` chooses which. */
import { Context, Effect, Layer, Option, Ref, Schema } from "effect"
import type { GatewayConfig } from "../domain/GatewayConfig.ts"

/** Why a configuration was not kept, or cannot be read again. `reason` is for a person and tells no secret. */
export class StoreFailed extends Schema.TaggedError<StoreFailed>()("StoreFailed", {
  operation: Schema.Literals(["load", "save"]),
  reason: Schema.String
}) {
  override get message(): string {
    return `the store could not ${this.operation} the configuration: ${this.reason}`
  }
}

export class RegistryStore extends Context.Service<
  RegistryStore,
  {
    /** What was kept last; none at the first start. */
    readonly load: Effect.Effect<Option.Option<GatewayConfig>, StoreFailed>
    /** Returns when the configuration is kept. Where it fails, what was kept before still is. */
    readonly save: (config: GatewayConfig) => Effect.Effect<void, StoreFailed>
  }
>()("weir/registry/RegistryStore") {
  /** Lives and dies with the process. Does not fail. */
  static readonly layerMemory = Layer.effect(
    RegistryStore,
    Effect.map(Ref.make(Option.none<GatewayConfig>()), (ref) =>
      RegistryStore.of({
        load: Ref.get(ref),
        save: (config) => Ref.set(ref, Option.some(config))
      })
    )
  )
}
