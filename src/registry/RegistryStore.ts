/** Where the registry keeps what must outlive a change; `state.store` chooses which. */
import { Context, Effect, Layer, Option, Ref } from "effect"
import type { GatewayConfig } from "../domain/GatewayConfig.ts"

export class RegistryStore extends Context.Service<
  RegistryStore,
  {
    /** What was kept last; none at the first start. */
    readonly load: Effect.Effect<Option.Option<GatewayConfig>>
    /** Returns when the configuration is kept. */
    readonly save: (config: GatewayConfig) => Effect.Effect<void>
  }
>()("weir/registry/RegistryStore") {
  /** Lives and dies with the process. */
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
