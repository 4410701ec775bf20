/** What the tests of several rooms share: configurations as people write them, and the entries that come of them. */

import { Effect, Result } from "effect"
import { type GatewayConfig, parseGatewayConfig } from "../../src/domain/GatewayConfig.ts"
import { BackendState, type Circuit } from "../../src/registry/BackendState.ts"
import { inProcess } from "../../src/registry/Capacity.ts"
import { LoadColumns } from "../../src/registry/LoadColumns.ts"
import type { NotChanged, Registry } from "../../src/registry/Registry.ts"
import {
  type BackendEntry,
  type Member,
  makeSnapshot,
  type PoolEntry,
  type Snapshot
} from "../../src/registry/Snapshot.ts"
import { Lease } from "../../src/scheduler/Lease.ts"

export const configOf = (input: unknown): Effect.Effect<GatewayConfig> => Effect.orDie(parseGatewayConfig(input))

export const snapshotOf = (input: unknown): Effect.Effect<Snapshot> =>
  Effect.map(configOf(input), (config) => {
    const columns = new LoadColumns()
    return makeSnapshot(config, 1, ({ name }) => new BackendState(name, columns))
  })

/** Puts a validated configuration in the place of whatever is in force. */
export const putInForce = (registry: Registry["Service"], config: GatewayConfig): Effect.Effect<Snapshot, NotChanged> =>
  Effect.map(
    registry.replace(() => Result.succeed(config)),
    ({ snapshot }) => snapshot
  )

/** A backend named `a`, the only one of a pool named `p`. */
export const lone = Effect.fnUntraced(function* (backend: object = {}, pool: object = {}) {
  const snapshot = yield* snapshotOf({
    backends: [{ name: "a", url: "http://127.0.0.1:9001", ...backend }],
    pools: [{ name: "p", backends: ["a"], ...pool }]
  })
  return { entry: backendOf(snapshot, "a"), member: memberOf(snapshot, "p", "a"), pool: poolOf(snapshot, "p") }
})

/** The value, which the test relies on to be there. */
export const must = <A>(value: A | undefined): A => {
  if (value === undefined) throw new Error("what the test relies on is missing")
  return value
}

export const backendOf = (snapshot: Snapshot, name: string): BackendEntry => must(snapshot.backends.get(name))

export const poolOf = (snapshot: Snapshot, name: string): PoolEntry => must(snapshot.pools.get(name))

export const memberOf = (snapshot: Snapshot, pool: string, name: string): Member =>
  must(poolOf(snapshot, pool).members.find(({ backend }) => backend.name === name))

const noTimeouts = { connect: 0, firstByte: 0, firstByteOfWhole: 0, idle: 0, request: 0 }

/** A request under way on a backend, until it is released. */
export const leaseOf = (backend: BackendEntry): Lease =>
  must(
    Lease.take(
      inProcess,
      { backend: { ...backend, capacity: Number.POSITIVE_INFINITY }, weight: 1, priority: 0, timeouts: noTimeouts },
      { sticky: undefined, instance: undefined, isLastResort: false }
    )
  )

const held = new WeakMap<BackendState, Array<Lease>>()

/** Takes leases of a backend, or gives those back that it took, until the backend has so many requests under way. */
export const occupy = (backend: BackendEntry, count: number): void => {
  const { state } = backend
  const leases = held.get(state) ?? []
  held.set(state, leases)
  while (state.inflight < count) leases.push(leaseOf(backend))
  while (state.inflight > count) must(leases.pop()).release()
}

/** What the circuit breaker would have written: the only place where a test writes a circuit itself. */
export const setCircuit = ({ circuit }: BackendState, to: Partial<Circuit>): void => {
  Object.assign(circuit, to)
}

/** A failure of a request that is not over yet, as the proxy would have written it. */
export const leaveUnresolved = (state: BackendState): void => {
  state.unresolved++
}

/** What the outlier detector would have written, in monotonic milliseconds. */
export const eject = (state: BackendState, until: number): void => {
  state.ejectedUntil = until
}
