/**
 * What exists now and in what state: one immutable snapshot, swapped atomically, whose backends carry their live
 * state from one snapshot to the next.
 */
import { Context, Effect, Layer, Semaphore, type Stream, SubscriptionRef } from "effect"
import type { Backend } from "../domain/Backend.ts"
import type { GatewayConfig } from "../domain/GatewayConfig.ts"
import { BackendState } from "./BackendState.ts"
import { RegistryStore } from "./RegistryStore.ts"
import { makeSnapshot, type Snapshot } from "./Snapshot.ts"

export { BackendState, type Circuit, type CircuitPhase } from "./BackendState.ts"
export { statusOf } from "./BackendStatus.ts"
export { LatencyTrack } from "./LatencyTrack.ts"
export { RegistryStore } from "./RegistryStore.ts"
export { SlidingWindow } from "./SlidingWindow.ts"
export { type BackendEntry, digestOfSecret, type Member, type PoolEntry, type Snapshot, toMember } from "./Snapshot.ts"

export class Registry extends Context.Service<
  Registry,
  {
    /** The snapshot of this moment. Plain and synchronous, since every request asks. */
    readonly current: () => Snapshot
    /** Grows whenever a backend's models change: what was derived from them is stale then. */
    readonly modelsVersion: () => number
    /** To be called by whoever changed a backend's models. */
    readonly modelsChanged: () => void
    /** Swaps in a validated configuration once the store has it. Requests under way keep what they began with. */
    readonly apply: (config: GatewayConfig) => Effect.Effect<Snapshot>
    /** The snapshot of this moment, then each later one. */
    readonly changes: Stream.Stream<Snapshot>
  }
>()("weir/registry/Registry") {
  /** Starts from a validated configuration; the store is the caller's choice. */
  static readonly layerNoDeps = (config: GatewayConfig) =>
    Layer.effect(
      Registry,
      Effect.gen(function* () {
        const store = yield* RegistryStore
        const oneAtATime = yield* Semaphore.make(1)
        yield* store.save(config)
        const ref = yield* SubscriptionRef.make(makeSnapshot(config, 1, (backend) => new BackendState(backend.name)))
        // Mutable on purpose: read on every request, written when discovery finds something new.
        let modelsVersion = 0

        const apply = Effect.fn("Registry.apply")(
          function* (next: GatewayConfig) {
            yield* store.save(next)
            return yield* SubscriptionRef.modify(ref, (before) => {
              const snapshot = makeSnapshot(next, before.version + 1, (backend) => stateFrom(before, backend))
              return [snapshot, snapshot]
            }).pipe(Effect.tap(() => Effect.sync(() => modelsVersion++)))
          },
          // Once begun it is done: what the store keeps and what is in force must not part because a client has left.
          Effect.uninterruptible,
          oneAtATime.withPermits(1)
        )

        return Registry.of({
          current: () => SubscriptionRef.getUnsafe(ref),
          modelsVersion: () => modelsVersion,
          modelsChanged: () => {
            modelsVersion++
          },
          apply,
          changes: SubscriptionRef.changes(ref)
        })
      })
    )

  /** A registry that keeps nothing beyond the process. */
  static readonly layerMemory = (config: GatewayConfig) =>
    this.layerNoDeps(config).pipe(Layer.provide(RegistryStore.layerMemory))
}

/** The same name at the same address with the same kind of engine is the same backend, whatever else was changed. */
const stateFrom = (before: Snapshot, backend: Backend): BackendState => {
  const known = before.backends.get(backend.name)
  const same = known !== undefined && known.config.url === backend.url && known.config.adapter === backend.adapter
  return same ? known.state : new BackendState(backend.name)
}
