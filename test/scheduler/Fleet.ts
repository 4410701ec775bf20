/** Pools of backends for the tests of choosing: described as a configuration describes them. */
import { assert } from "@effect/vitest"
import { Effect, Layer, Result, Schema } from "effect"
import { GatewayConfig } from "../../src/domain/GatewayConfig.ts"
import type { HealthStatus } from "../../src/domain/Health.ts"
import type { Listener } from "../../src/domain/Listener.ts"
import type { Circuit } from "../../src/registry/BackendState.ts"
import {
  BackendState,
  Capacity,
  LoadColumns,
  type Member,
  type PoolEntry,
  Registry,
  type Snapshot
} from "../../src/registry/Registry.ts"
import { makeSnapshot } from "../../src/registry/Snapshot.ts"
import { Router } from "../../src/routing/Router.ts"
import { Lease, type NoLease, type PickRequest, Scheduler } from "../../src/scheduler/Scheduler.ts"
import { eject, must, occupy, setCircuit } from "../registry/Fixtures.ts"

export interface BackendLike {
  readonly name: string
  readonly weight?: number
  readonly maxConcurrency?: number
  readonly models?: ReadonlyArray<string>
  readonly enabled?: boolean
}

/** Times in milliseconds from now on. */
export interface Situation {
  readonly inflight?: number
  /** As if it had asked for that by a `Retry-After`. */
  readonly restsFor?: number
  readonly ejectedFor?: number
  readonly circuit?: Partial<Circuit>
}

export interface FleetLike {
  readonly backends: ReadonlyArray<BackendLike>
  /** The default pool, where it is not simply all backends. */
  readonly pool?: object
  readonly more?: object
}

const decode = Schema.decodeUnknownSync(GatewayConfig)

export const configOf = ({ backends, more, pool }: FleetLike): GatewayConfig =>
  decode({
    listeners: [{ port: 0, pool: "default" }],
    backends: backends.map((backend, index) => ({ url: `http://10.0.0.${index + 1}:8000`, ...backend })),
    pools: [{ name: "default", backends: backends.map(({ name }) => name), ...pool }],
    ...more
  })

export const layerOf = (fleet: FleetLike, capacity = Capacity.layer) =>
  Layer.mergeAll(Router.layer, Scheduler.layer).pipe(
    Layer.provideMerge(Layer.merge(Registry.layerMemory(configOf(fleet)), capacity))
  )

/** A scheduler over a fleet, with what the tests want to do to it. */
export class Fleet {
  readonly registry: Registry["Service"]
  readonly router: Router["Service"]
  readonly scheduler: Scheduler["Service"]
  /** Monotonic milliseconds. */
  now = 1000

  constructor(registry: Registry["Service"], router: Router["Service"], scheduler: Scheduler["Service"]) {
    this.registry = registry
    this.router = router
    this.scheduler = scheduler
  }

  get snapshot(): Snapshot {
    return this.registry.current()
  }

  get listener(): Listener {
    return this.snapshot.config.listeners[0]
  }

  get pool(): PoolEntry {
    const pool = this.snapshot.pools.get("default")
    assert.isDefined(pool)
    return pool
  }

  state(name: string): BackendState {
    const backend = this.snapshot.backends.get(name)
    assert.isDefined(backend)
    return backend.state
  }

  route(model: string | undefined) {
    return Result.merge(
      this.router.route({
        snapshot: this.snapshot,
        listener: this.listener,
        key: undefined,
        path: "/",
        model,
        now: this.now
      })
    )
  }

  request(
    options: Partial<Pick<PickRequest, "session" | "hashKey" | "prompt" | "tried">> & { readonly model?: string } = {}
  ): PickRequest {
    const routed = this.route(options.model)
    if (!("candidates" in routed)) assert.fail(routed.message)
    const { candidates, pool } = routed
    const { hashKey, prompt, session, tried } = options
    return { pool, candidates, model: routed.model, session, hashKey, prompt, tried: tried ?? [] }
  }

  ask(options: Parameters<Fleet["request"]>[0] = {}): Lease | NoLease {
    return this.scheduler.pick(this.request(options), this.now)
  }

  lease(options: Parameters<Fleet["request"]>[0] = {}): Lease {
    const picked = this.ask(options)
    if (!(picked instanceof Lease)) assert.fail(`no lease: ${picked.reason}`)
    return picked
  }

  refusal(options: Parameters<Fleet["request"]>[0] = {}): NoLease {
    const picked = this.ask(options)
    if (picked instanceof Lease) assert.fail(`leased ${nameOf(picked)}`)
    return picked
  }

  /** The name of the backend that is chosen, given back at once. */
  choice(options: Parameters<Fleet["request"]>[0] = {}): string {
    const lease = this.lease(options)
    lease.release()
    return nameOf(lease)
  }

  choices(count: number, options: Parameters<Fleet["request"]>[0] = {}): string {
    return Array.from({ length: count }, () => this.choice(options)).join("")
  }

  /** As if a probe had found that. */
  found(name: string, status: HealthStatus): void {
    this.state(name).health.probed(status, { unhealthyAfter: 1, healthyAfter: 1 }, 0, this.now)
  }

  /** Brings a backend into a situation; what is not named stays as it is. */
  with(name: string, { circuit, ejectedFor, inflight, restsFor }: Situation): void {
    const backend = must(this.snapshot.backends.get(name))
    if (inflight !== undefined) occupy(backend, inflight)
    if (restsFor !== undefined) backend.state.rest(this.now + restsFor, true)
    if (ejectedFor !== undefined) eject(backend.state, this.now + ejectedFor)
    if (circuit !== undefined) setCircuit(backend.state, circuit)
  }

  openCircuit(name: string, until: number): void {
    this.with(name, { circuit: { phase: "open", openUntil: until } })
  }
}

export const nameOf = ({ member }: Lease): string => member.backend.name

/** Runs a test over a fleet of its own. */
export const withFleet = (fleet: FleetLike, test: (fleet: Fleet) => void) =>
  Effect.gen(function* () {
    test(new Fleet(yield* Registry, yield* Router, yield* Scheduler))
  }).pipe(Effect.provide(layerOf(fleet)))

/** The same for tests that are effects themselves. */
export const onFleet = <A, E>(
  fleet: FleetLike,
  test: (fleet: Fleet) => Effect.Effect<A, E>,
  capacity = Capacity.layer
) =>
  Effect.gen(function* () {
    return yield* test(new Fleet(yield* Registry, yield* Router, yield* Scheduler))
  }).pipe(Effect.provide(layerOf(fleet, capacity)))

export const named = (...names: ReadonlyArray<string>): FleetLike => ({ backends: names.map((name) => ({ name })) })

/** Numbers that look random and are the same in every run. */
export const seededRandom = (seed = 1) => {
  let state = seed
  return (sides: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * sides)
  }
}

/** The members of a pool by themselves, without a scheduler. */
export const membersOf = (fleet: FleetLike): ReadonlyArray<Member> => {
  const columns = new LoadColumns()
  return (
    makeSnapshot(configOf(fleet), 1, ({ name }) => new BackendState(name, columns)).pools.get("default")?.members ?? []
  )
}
