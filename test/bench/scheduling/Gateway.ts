/**
 * The gateway's own services as a dispatcher: the real registry, scheduler, circuit breaker and outlier detector, told of
 * everything that the proxy and the prober would tell them, on the clock of the simulation.
 */
import { Clock, Effect, Layer, Random, Result, Schema } from "effect"
import { GatewayConfig } from "../../../src/domain/GatewayConfig.ts"
import type { StrategyName } from "../../../src/domain/Pool.ts"
import { type BackendEntry, Capacity, Registry } from "../../../src/registry/Registry.ts"
import { type CallRole, CircuitBreaker } from "../../../src/resilience/CircuitBreaker.ts"
import { OutlierDetector } from "../../../src/resilience/OutlierDetector.ts"
import { Router } from "../../../src/routing/Router.ts"
import { hashText } from "../../../src/scheduler/Hashing.ts"
import { Lease, type PickRequest, Scheduler } from "../../../src/scheduler/Scheduler.ts"
import { Metrics } from "../../../src/telemetry/Telemetry.ts"
import { layerTime } from "../../Time.ts"
import type { Engine, Job } from "./Engine.ts"
import type { Dispatcher } from "./Simulation.ts"
import { VirtualClock } from "./VirtualClock.ts"

/** Seconds between two probes of an engine, as the contract's default has it. */
const probeEvery = 5

const decodeConfig = Schema.decodeUnknownSync(GatewayConfig)

/** A gateway over engines of these weights; nothing is ever sent to them. */
export const configOf = (strategy: StrategyName, weights: ReadonlyArray<number>): GatewayConfig => {
  const backends = weights.map((weight, index) => ({
    name: `engine-${index}`,
    url: `http://10.0.0.1:${8000 + index}`,
    weight
  }))
  return decodeConfig({
    listeners: [{ port: 0, pool: "default" }],
    backends,
    pools: [{ name: "default", backends: backends.map(({ name }) => name), strategy }]
  })
}

/** A gateway of its own, whose clock stands at 0. */
export const makeGateway = (
  strategy: StrategyName,
  weights: ReadonlyArray<number>,
  seed: number
): Effect.Effect<Dispatcher> => {
  const clock = new VirtualClock()
  const layer = Layer.mergeAll(Router.layer, Scheduler.layer, CircuitBreaker.layer, OutlierDetector.layer).pipe(
    Layer.provideMerge(
      Layer.mergeAll(layerTime, Metrics.layer, Registry.layerMemory(configOf(strategy, weights)), Capacity.layer)
    )
  )
  return Effect.gen(function* () {
    const services = {
      clock,
      registry: yield* Registry,
      router: yield* Router,
      scheduler: yield* Scheduler,
      breaker: yield* CircuitBreaker,
      detector: yield* OutlierDetector
    }
    return new Gateway(services)
  }).pipe(Effect.provide(Layer.fresh(layer)), Random.withSeed(seed), Effect.provideService(Clock.Clock, clock))
}

/** A request at an engine. */
interface Exchange {
  readonly lease: Lease
  readonly role: CallRole
  readonly sentAt: number
  judged: boolean
}

interface Services {
  readonly clock: VirtualClock
  readonly registry: Registry["Service"]
  readonly router: Router["Service"]
  readonly scheduler: Scheduler["Service"]
  readonly breaker: CircuitBreaker["Service"]
  readonly detector: OutlierDetector["Service"]
}

class Gateway implements Dispatcher {
  readonly #services: Services
  readonly #backends: ReadonlyArray<BackendEntry>
  readonly #route: Pick<PickRequest, "pool" | "candidates">
  readonly #exchanges = new Map<number, Exchange>()
  #seconds = 0

  constructor(services: Services) {
    this.#services = services
    const snapshot = services.registry.current()
    this.#backends = [...snapshot.backends.values()]
    const routed = services.router.route({
      snapshot,
      listener: snapshot.config.listeners[0],
      key: undefined,
      path: "/v1/chat/completions",
      model: undefined,
      now: 0
    })
    const { candidates, pool } = Result.getOrThrow(routed)
    this.#route = { pool, candidates }
  }

  place(job: Job, now: number, tried: ReadonlyArray<number>): number | undefined {
    this.#services.clock.millis = now
    const request: PickRequest = {
      ...this.#route,
      model: undefined,
      session: undefined,
      hashKey: hashText(`session-${job.session}`),
      prompt: job.prompt,
      tried: tried.flatMap((index) => this.#backends[index]?.state ?? [])
    }
    const lease = this.#services.scheduler.pick(request, now)
    if (!(lease instanceof Lease)) return undefined
    const { backend } = lease.member
    backend.state.requests++
    this.#exchanges.set(job.id, { lease, role: this.#services.breaker.begin(backend), sentAt: now, judged: false })
    return this.#backends.indexOf(backend)
  }

  onFirstToken(job: Job, _engine: number, now: number): void {
    this.#services.clock.millis = now
    const exchange = this.#exchanges.get(job.id)
    if (exchange === undefined) return
    const { backend } = exchange.lease.member
    const { state } = backend
    exchange.judged = true
    state.health.delivered(now)
    state.latency.record(now - exchange.sentAt, now)
    state.firstToken.record(now - exchange.sentAt, now)
    state.outcomes.record(true, now)
    this.#services.breaker.end(backend, exchange.role, "success")
  }

  onFinished(job: Job): void {
    this.#exchanges.get(job.id)?.lease.release()
    this.#exchanges.delete(job.id)
  }

  onFailed(job: Job, _engine: number, now: number): void {
    this.#services.clock.millis = now
    const exchange = this.#exchanges.get(job.id)
    if (exchange === undefined) return
    const { backend } = exchange.lease.member
    const { state } = backend
    state.health.broke(backend.probing)
    state.failures++
    state.outcomes.record(false, now)
    if (exchange.judged) this.#services.breaker.brokeOff(backend)
    else this.#services.breaker.end(backend, exchange.role, "broken")
    this.onFinished(job)
  }

  /** Each engine is probed every five seconds, one after the other. */
  onSecond(now: number, engines: ReadonlyArray<Engine>): void {
    this.#services.clock.millis = now
    this.#seconds++
    for (const [index, engine] of engines.entries()) {
      const backend = this.#backends[index]
      if (backend === undefined || (this.#seconds + index) % probeEvery !== 0) continue
      const { probing, state } = backend
      state.probed(engine.alive ? "healthy" : "unhealthy", probing, probing.interval * probing.unhealthyAfter, now)
      state.outcomes.record(engine.alive, now)
      if (!engine.alive) continue
      const { kvCacheUsage, running, waiting } = engine
      state.reported({ running: running.length, waiting: waiting.length, kvCacheUsage }, now)
    }
    this.#services.detector.look()
  }
}
