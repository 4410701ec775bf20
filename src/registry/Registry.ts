/**
 * What exists now and in what state: one immutable snapshot, swapped atomically, whose backends carry their live
 * state from one snapshot to the next.
 */
import { Context, Effect, Layer, type Scope, Semaphore, type Stream, SubscriptionRef } from "effect"
import type { Backend } from "../domain/Backend.ts"
import type { GatewayConfig } from "../domain/GatewayConfig.ts"
import { BackendState } from "./BackendState.ts"
import type { ChangeRefused, PreparedChange } from "./Change.ts"
import { LoadColumns } from "./LoadColumns.ts"
import { RegistryStore } from "./RegistryStore.ts"
import { share } from "./Sharing.ts"
import { makeSnapshot, type Snapshot } from "./Snapshot.ts"

export { BackendState, type Circuit, type CircuitPhase, type Fault } from "./BackendState.ts"
export { statusOf } from "./BackendStatus.ts"
export { ChangeRefused, type PreparedChange } from "./Change.ts"
export type { HealthChange } from "./HealthMachine.ts"
export { LatencyTrack } from "./LatencyTrack.ts"
export { LoadColumns } from "./LoadColumns.ts"
export { RegistryStore } from "./RegistryStore.ts"
export { SlidingWindow } from "./SlidingWindow.ts"
export { type BackendEntry, type Member, type PoolEntry, type Snapshot, toMember } from "./Snapshot.ts"

/** Makes ready for a configuration, or says why that cannot be. */
export type Prepare = (next: GatewayConfig) => Effect.Effect<PreparedChange, ChangeRefused>

export class Registry extends Context.Service<
  Registry,
  {
    /** The snapshot of this moment. Plain and synchronous, since every request asks. */
    readonly current: () => Snapshot
    /** Grows whenever a backend's models change: what was derived from them is stale then. */
    readonly modelsVersion: () => number
    /** To be called by whoever changed a backend's models. */
    readonly modelsChanged: () => void
    /**
     * Swaps in a validated configuration, all of it or nothing: first everybody who takes part in changes makes ready,
     * then the store has it, then it is in force. Requests under way keep what they began with. Where nothing is
     * different the snapshot stays as it is.
     */
    readonly apply: (config: GatewayConfig) => Effect.Effect<Snapshot, ChangeRefused>
    /** To be asked before each change, until the scope closes. */
    readonly participate: (prepare: Prepare) => Effect.Effect<void, never, Scope.Scope>
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
        const columns = new LoadColumns()
        const ref = yield* SubscriptionRef.make(makeSnapshot(config, 1, ({ name }) => new BackendState(name, columns)))
        // Mutable on purpose: read on every request, written when discovery finds something new.
        let modelsVersion = 0

        const participants = new Set<Prepare>()

        const swap = Effect.fnUntraced(function* (next: GatewayConfig) {
          yield* store.save(next)
          return yield* SubscriptionRef.modify(ref, (before) => {
            const snapshot = makeSnapshot(next, before.version + 1, (backend) => stateFrom(before, backend, columns))
            return [snapshot, snapshot]
          }).pipe(Effect.tap(() => Effect.sync(() => modelsVersion++)))
        })

        const apply = Effect.fn("Registry.apply")(
          function* (wanted: GatewayConfig) {
            const before = SubscriptionRef.getUnsafe(ref)
            const next = share(before.config, wanted)
            const ready = yield* prepareAll(participants, next)
            const snapshot = next === before.config ? before : yield* swap(next)
            yield* Effect.forEach(ready, ({ commit }) => commit(snapshot), { discard: true })
            return snapshot
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
          participate: (prepare) =>
            Effect.acquireRelease(
              Effect.sync(() => participants.add(prepare)),
              () => Effect.sync(() => participants.delete(prepare))
            ).pipe(Effect.asVoid),
          changes: SubscriptionRef.changes(ref)
        })
      })
    )

  /** A registry that keeps nothing beyond the process. */
  static readonly layerMemory = (config: GatewayConfig) =>
    this.layerNoDeps(config).pipe(Layer.provide(RegistryStore.layerMemory))
}

/** Where one cannot follow, those who were ready already are told that nothing comes of it. */
const prepareAll = Effect.fnUntraced(function* (participants: ReadonlySet<Prepare>, next: GatewayConfig) {
  const ready: Array<PreparedChange> = []
  for (const prepare of participants) {
    const prepared = yield* Effect.tapError(prepare(next), () =>
      Effect.forEach(ready.toReversed(), ({ abort }) => abort, { discard: true })
    )
    ready.push(prepared)
  }
  return ready
})

/** The same name at the same address with the same kind of engine is the same backend, whatever else was changed. */
const stateFrom = (before: Snapshot, backend: Backend, columns: LoadColumns): BackendState => {
  const known = before.backends.get(backend.name)
  const same = known !== undefined && known.config.url === backend.url && known.config.adapter === backend.adapter
  if (!same) return new BackendState(backend.name, columns)
  if (known.config !== backend) known.state.health.reconfigured()
  return known.state
}
