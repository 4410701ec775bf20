/**
 * A simulated inference server: it speaks the APIs of real engines, takes as long as one, and fails on command.
 * Many can run in one process; they share nothing.
 */
import { Context, Effect, Exit, Layer, Scope } from "effect"
import { HttpMiddleware, type HttpServerError } from "effect/http"
import { makeControls, type SimulatorStats } from "./Controls.ts"
import { makeEngine } from "./Engine.ts"
import { makeFaultBook } from "./FaultBook.ts"
import type { FaultInvalid, FaultSpec } from "./Faults.ts"
import type { Instance } from "./Instance.ts"
import { type Settings, type SimulatorOptions, settle } from "./Options.ts"
import { makeRandom } from "./Random.ts"
import { makeRequestLog, type RequestRecord, recentLimit } from "./RequestLog.ts"
import { makeService } from "./Service.ts"
import { makeWireControl } from "./WireControl.ts"

export type { SimulatorStats } from "./Controls.ts"
export { type EngineName, engineNames } from "./EngineProfile.ts"
export { FaultInvalid, type FaultKind, type FaultSpec, faultKinds } from "./Faults.ts"
export type { SimulatorOptions } from "./Options.ts"
export type { Outcome, RequestRecord } from "./RequestLog.ts"

export class Simulator extends Context.Service<
  Simulator,
  {
    /** Such as `http://127.0.0.1:40123`. */
    readonly url: string
    readonly port: number
    readonly stats: Effect.Effect<SimulatorStats>
    /** The last requests, at most 200 or `limit`, oldest first. */
    readonly requests: (limit?: number) => Effect.Effect<ReadonlyArray<RequestRecord>>
    /** Zeroes the counts; with `cache` the engine forgets all prompts too. */
    readonly reset: (options?: { readonly cache?: boolean }) => Effect.Effect<void>
    /** Replaces the faults in force, or adds to them. A `refuse` has begun when this returns. */
    readonly setFaults: (
      faults: FaultSpec | ReadonlyArray<FaultSpec>,
      options?: { readonly add?: boolean }
    ) => Effect.Effect<void, FaultInvalid>
    /** Takes all faults back, a refusal of connections too. */
    readonly clearFaults: Effect.Effect<void>
    /** Stops listening and destroys all connections, before the scope does it. */
    readonly stop: Effect.Effect<void>
  }
>()("weir/sim/Simulator") {
  /** Starts one more server. It listens when this returns, and stops with the scope; a port in use is a `ServeError`. */
  static readonly make = Effect.fnUntraced(function* (
    options: SimulatorOptions = {}
  ): Effect.fn.Return<Simulator["Service"], HttpServerError.ServeError, Scope.Scope> {
    const scope = yield* Effect.flatMap(Effect.scope, (parent) => Scope.fork(parent))
    const simulator = yield* start(settle(options)).pipe(Scope.provide(scope))
    return Simulator.of({ ...simulator, stop: Scope.close(scope, Exit.void) })
  })

  /** One server as a service. */
  static readonly layer = (options: SimulatorOptions = {}) => Layer.effect(Simulator, Simulator.make(options))
}

const start = Effect.fnUntraced(function* (settings: Settings) {
  const instance = yield* assemble(settings)
  const { wire, log } = instance
  const controls = yield* makeControls(instance)
  const { serve: service } = yield* makeService(instance, controls)
  yield* wire.httpServer.serve(service).pipe(Effect.provideService(HttpMiddleware.TracerDisabledWhen, () => true))
  // Added last, so it runs first: nothing waits for requests that may never end.
  yield* Effect.addFinalizer(() =>
    Effect.andThen(
      Effect.sync(() => log.failAll()),
      wire.close
    )
  )
  return {
    url: `${settings.tls === undefined ? "http" : "https"}://${reachable(settings.host)}:${wire.port}`,
    port: wire.port,
    stats: controls.stats,
    requests: (limit: number = recentLimit) => controls.requests(limit),
    reset: ({ cache = false }: { readonly cache?: boolean } = {}) => controls.reset({ cache }),
    setFaults: (faults: FaultSpec | ReadonlyArray<FaultSpec>, { add = false }: { readonly add?: boolean } = {}) =>
      controls.setFaults(faults, { add }),
    clearFaults: controls.clearFaults
  }
})

const assemble = Effect.fnUntraced(function* (settings: Settings) {
  const engine = yield* makeEngine(settings)
  const wire = yield* makeWireControl(settings)
  const random = makeRandom(settings.seed)
  let lastId = 0
  const instance: Instance = {
    settings,
    engine,
    wire,
    random,
    log: makeRequestLog(),
    faults: makeFaultBook(random),
    nextId: () => ++lastId
  }
  return instance
})

/** A server that listens everywhere is reached through loopback. */
const reachable = (host: string): string => {
  if (host === "0.0.0.0") return "127.0.0.1"
  if (host === "::") return "[::1]"
  return host.includes(":") ? `[${host}]` : host
}
