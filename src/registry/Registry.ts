/**
 * What exists now and in what state: one immutable snapshot, swapped atomically, whose backends carry their live
 * state from one snapshot to the next.
 */
import { Clock, Context, Effect, Layer, type Result, type Scope, Semaphore, type Stream } from "effect"
import type { Backend } from "../domain/Backend.ts"
import type { ConfigInvalid } from "../domain/ConfigInvalid.ts"
import type { GatewayConfig } from "../domain/GatewayConfig.ts"
import { BackendState } from "./BackendState.ts"
import { abortAll, type ChangeRefused, commitAll, type Follow, type Prepare, prepareAll } from "./Change.ts"
import { differences } from "./Differences.ts"
import { EventHub, type Happened, listed, type RegistryEvent } from "./Events.ts"
import { LoadColumns } from "./LoadColumns.ts"
import { RegistryStore, type StoreFailed } from "./RegistryStore.ts"
import { share } from "./Sharing.ts"
import { makeSnapshot, type Snapshot } from "./Snapshot.ts"
import { validated } from "./Validation.ts"

export { BackendState, type Circuit, type CircuitPhase, type Fault } from "./BackendState.ts"
export { statusOf } from "./BackendStatus.ts"
export { Capacity, type Claim, type Permits } from "./Capacity.ts"
export { ChangeRefused, derived, type Follow, forgetGone, type Prepare, type PreparedChange } from "./Change.ts"
export { awaitingRestart, differences } from "./Differences.ts"
export { type Happened, modelsReason, RegistryEvent } from "./Events.ts"
export type { HealthChange } from "./HealthMachine.ts"
export { LatencyTrack } from "./LatencyTrack.ts"
export { LoadColumns } from "./LoadColumns.ts"
export { RegistryStore, StoreFailed } from "./RegistryStore.ts"
export { SlidingWindow } from "./SlidingWindow.ts"
export { type BackendEntry, type Member, type PoolEntry, type Snapshot, toMember } from "./Snapshot.ts"

/** What a configuration in force is to become, or why there is nothing to become of it. */
export type Edit<E> = (config: GatewayConfig) => Effect.Effect<GatewayConfig, E> | Result.Result<GatewayConfig, E>

/** What was in force and what is now; the same one where nothing was different. */
export interface Changed {
  readonly before: Snapshot
  readonly snapshot: Snapshot
}

/** Why a change was not made; nothing is different then. */
export type NotChanged = ChangeRefused | StoreFailed

export class Registry extends Context.Service<
  Registry,
  {
    /** The snapshot of this moment. Plain and synchronous, since every request asks. */
    readonly current: () => Snapshot
    /** Grows whenever a backend's models change: what was derived from them is stale then. */
    readonly modelsVersion: () => number
    /** To be called by whatever changed a backend's models. */
    readonly modelsChanged: () => void
    /**
     * Edits the configuration in force: reads it, edits it, validates and applies the outcome under one lock, so that
     * two edits at once are both kept. All of it or nothing: the parts that take part make ready, then the store has it,
     * then it is in force. Requests under way keep what they began with. An interruption before the parts are asked
     * leaves everything as it is; after that the change is made. `edit` must not ask for another change.
     */
    readonly modify: <E = never>(edit: Edit<E>) => Effect.Effect<Changed, E | ConfigInvalid | NotChanged>
    /** The same for a configuration that its maker has validated, as the loader does. */
    readonly replace: <E = never>(edit: Edit<E>) => Effect.Effect<Changed, E | NotChanged>
    /**
     * Runs `follow` with the snapshot in force, then with each later one as soon as it is, until the scope closes; also
     * where a change came to nothing, since files that the configuration names may be others now. A change is done when
     * all have followed. It runs with the services of this call, whatever asks for the change.
     */
    readonly follow: (follow: Follow) => Effect.Effect<void, never, Scope.Scope>
    /** To be asked before each change, until the scope closes: for what may have to refuse one. */
    readonly participate: (prepare: Prepare) => Effect.Effect<void, never, Scope.Scope>
    /** What changes from now on, until the registry is gone. A slow subscriber loses the oldest, and is told. */
    readonly events: Stream.Stream<RegistryEvent>
    /** Tells subscribers of {@link events}. Plain and synchronous, and next to nothing where there are none. */
    readonly publish: (happened: Happened) => void
  }
>()("weir/registry/Registry") {
  /** Starts from a validated configuration; the store is the caller's choice. */
  static readonly layerNoDeps = (config: GatewayConfig) => Layer.effect(Registry, makeRegistry(config))

  /** A registry that keeps nothing beyond the process, in a store that does not fail. */
  static readonly layerMemory = (config: GatewayConfig) =>
    this.layerNoDeps(config).pipe(Layer.provide(RegistryStore.layerMemory), Layer.orDie)
}

const makeRegistry = Effect.fnUntraced(function* (first: GatewayConfig) {
  const store = yield* RegistryStore
  const oneAtATime = yield* Semaphore.make(1)
  yield* store.save(first)
  const columns = new LoadColumns()
  // Mutable on purpose: read on every request.
  let current = makeSnapshot(first, 1, ({ name }) => new BackendState(name, columns))
  let modelsVersion = 0
  const participants = new Set<Prepare>()
  const followers = new Set<Follow>()
  const hub = new EventHub(yield* Clock.Clock)
  yield* Effect.addFinalizer(() => hub.end)

  const swap = Effect.fnUntraced(function* (next: GatewayConfig) {
    yield* store.save(next)
    const before = current
    current = makeSnapshot(next, before.version + 1, (backend) => stateFrom(before, backend, columns))
    modelsVersion++
  })

  /** Once begun it is done: what the store keeps and what is in force must not part because a client has left. */
  const enforce = Effect.fnUntraced(function* (wanted: GatewayConfig) {
    const before = current
    const next = share(before.config, wanted)
    const ready = yield* prepareAll(participants, next)
    if (next !== before.config) yield* Effect.onError(swap(next), () => abortAll(ready))
    yield* commitAll(followers, ready, current)
    if (current !== before && hub.isHeard) hub.publish(configurationChange(before, current))
    const changed: Changed = { before, snapshot: current }
    return changed
  }, Effect.uninterruptible)

  const replace = <E>(edit: Edit<E>) =>
    Effect.suspend(() => asEffect(edit(current.config))).pipe(Effect.flatMap(enforce), oneAtATime.withPermits(1))

  return Registry.of({
    current: () => current,
    modelsVersion: () => modelsVersion,
    modelsChanged: () => {
      modelsVersion++
    },
    modify: (edit) => replace((before) => Effect.flatMap(asEffect(edit(before)), (edited) => check(before, edited))),
    replace,
    follow: Effect.fnUntraced(function* (follow) {
      const services = yield* Effect.context()
      const own: Follow = (snapshot) => Effect.setContext(follow(snapshot), services)
      yield* registered(followers, own)
      yield* Effect.suspend(() => own(current))
    }, oneAtATime.withPermits(1)),
    participate: (prepare) => registered(participants, prepare),
    events: hub.events,
    publish: hub.publish
  })
})

/** In turns of the event loop: with a thousand backends and keys it takes some 20 ms, and to apply it as long again. */
const check = Effect.fnUntraced(function* (before: GatewayConfig, edited: GatewayConfig) {
  yield* Effect.yieldNow
  const next = yield* Effect.fromResult(validated(before, edited))
  yield* Effect.yieldNow
  return next
})

const configurationChange = (before: Snapshot, after: Snapshot): Happened => ({
  kind: "configuration",
  name: "configuration",
  from: before.version,
  to: after.version,
  reason: listed(differences(before.config, after.config))
})

const asEffect = <E>(edited: ReturnType<Edit<E>>): Effect.Effect<GatewayConfig, E> =>
  Effect.isEffect(edited) ? edited : Effect.fromResult(edited)

const registered = <A>(all: Set<A>, one: A): Effect.Effect<void, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => void all.add(one)),
    () => Effect.sync(() => all.delete(one))
  )

/** The same name at the same address with the same kind of engine is the same backend, whatever else was changed. */
const stateFrom = (before: Snapshot, backend: Backend, columns: LoadColumns): BackendState => {
  const known = before.backends.get(backend.name)
  const same = known !== undefined && known.config.url === backend.url && known.config.adapter === backend.adapter
  if (!same) return new BackendState(backend.name, columns)
  if (known.config !== backend) known.state.health.reconfigured()
  return known.state
}
