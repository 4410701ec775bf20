/** A row's scene: the built gateway, an engine with the fault, and a healthy one beside it. */
import { assert } from "@effect/vitest"
import { Duration, Effect, Schema } from "effect"
import { type FaultSpec, Simulator, type SimulatorOptions, type SimulatorStats } from "../../src/sim/Simulator.ts"
import { eventually, type Gateway, serve } from "../e2e/Program.ts"
import { type Asking, lackOf, nodeOf, type Outcome, volley } from "./Clients.ts"

export type Engine = Simulator["Service"]

export interface Scene {
  readonly gateway: Gateway
  /** The backend `faulty`, asked first. */
  readonly faulty: Engine
  /** The backend `healthy`; it is there in every scene, but not always in the pool. */
  readonly healthy: Engine
}

export interface Setting {
  readonly fault?: FaultSpec | ReadonlyArray<FaultSpec>
  /** More for the engine with the fault. */
  readonly engine?: SimulatorOptions
  /** More for its backend. */
  readonly backend?: object
  readonly pool?: object
  /** The pool has the faulty backend only. */
  readonly alone?: boolean
}

const quick = { ttft: Duration.millis(10), itl: Duration.millis(3), tokens: 12, slots: 64, slowdown: 0 }

/** Both engines are healthy when it returns; the fault begins afterwards. */
export const stage = Effect.fnUntraced(function* ({ alone = false, backend, engine, fault, pool }: Setting) {
  const faulty = yield* Effect.orDie(Simulator.make({ ...quick, name: "faulty", ...engine }))
  const healthy = yield* Effect.orDie(Simulator.make({ ...quick, name: "healthy" }))
  const models = ["sim-model"]
  const gateway = yield* serve({
    health: { interval: "200ms", timeout: "1s" },
    backends: [
      { name: "faulty", url: faulty.url, models, ...backend },
      { name: "healthy", url: healthy.url, models }
    ],
    pools: [{ name: "default", backends: alone ? ["faulty"] : ["faulty", "healthy"], strategy: "failover", ...pool }]
  })
  yield* until(gateway, ({ backends }) => backends.every(({ health }) => health !== "unknown"))
  if (fault !== undefined) yield* Effect.orDie(faulty.setFaults(fault))
  const scene: Scene = { gateway, faulty, healthy }
  return scene
})

const decodeStats = Schema.decodeUnknownSync(
  Schema.fromJsonString(
    Schema.Struct({
      active_requests: Schema.Int,
      queue_depth: Schema.Int,
      backends: Schema.Array(
        Schema.Struct({
          name: Schema.String,
          health: Schema.String,
          circuit: Schema.String,
          inflight: Schema.Int,
          requests: Schema.Int,
          failures: Schema.Int
        })
      )
    })
  )
)
export type GatewayStats = ReturnType<typeof decodeStats>

const textOf = (url: string): Effect.Effect<string> => Effect.promise(async () => (await fetch(url)).text())

export const statsOf = ({ url }: Gateway): Effect.Effect<GatewayStats> =>
  Effect.map(textOf(`${url}/stats`), (text) => decodeStats(text))

export const until = (gateway: Gateway, isTrue: (stats: GatewayStats) => boolean): Effect.Effect<GatewayStats> =>
  eventually(
    Effect.map(statsOf(gateway), (stats) => (isTrue(stats) ? stats : undefined)),
    () => String(isTrue)
  )

export const backendOf = ({ backends }: GatewayStats, name: "faulty" | "healthy") => {
  const backend = backends.find((each) => each.name === name)
  assert.isDefined(backend)
  return backend
}

/** The sum of a metric's series that have all of these labels. */
export const metric = ({ url }: Gateway, name: string, ...labels: ReadonlyArray<string>): Effect.Effect<number> =>
  Effect.map(textOf(`${url}/metrics`), (text) =>
    text
      .split("\n")
      .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
      .filter((line) => labels.every((label) => line.includes(label)))
      .reduce((total, line) => total + Number(line.slice(line.lastIndexOf(" "))), 0)
  )

const settled = ({ cancelled, failed, finished, running, started, waiting }: SimulatorStats): boolean =>
  running === 0 && waiting === 0 && started === finished + cancelled + failed

/** Nothing is held any more, at the gateway and at both engines; gives what the engines counted. */
export const atRest = Effect.fnUntraced(function* ({ faulty, gateway, healthy }: Scene) {
  yield* until(
    gateway,
    ({ active_requests, backends, queue_depth }) =>
      active_requests === 0 && queue_depth === 0 && backends.every(({ inflight }) => inflight === 0)
  )
  const calm = ({ stats }: Engine) =>
    eventually(
      Effect.map(stats, (now) => (settled(now) ? now : undefined)),
      () => "an engine at rest"
    )
  return { faulty: yield* calm(faulty), healthy: yield* calm(healthy) }
})

/** Clients at once, streaming and not, all of whom must get a whole answer. */
export const servedVolley = Effect.fnUntraced(function* (
  { gateway }: Scene,
  count: number,
  asking: Omit<Asking, "streamed"> = {}
) {
  const outcomes = yield* volley(gateway.url, count, asking)
  assertServed(outcomes)
  return outcomes
})

export const assertServed = (outcomes: ReadonlyArray<Outcome>): void => {
  for (const outcome of outcomes) {
    assert.isUndefined(lackOf(outcome), `${outcome.streamed ? "a stream" : "an answer"} by ${nodeOf(outcome)}`)
  }
}

export const assertBy = (outcomes: ReadonlyArray<Outcome>, node: "faulty" | "healthy"): void =>
  assert.deepStrictEqual([...new Set(outcomes.map(nodeOf))], [node])
