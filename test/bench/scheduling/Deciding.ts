/** What a decision costs: `Scheduler.pick` and the release of its lease, on the real clock. */
import { Effect, Random as EffectRandom, Layer, Result } from "effect"
import { StrategyName } from "../../../src/domain/Pool.ts"
import { Capacity, Registry } from "../../../src/registry/Registry.ts"
import { Router } from "../../../src/routing/Router.ts"
import { hashText } from "../../../src/scheduler/Hashing.ts"
import { promptBlocks } from "../../../src/scheduler/PromptBlocks.ts"
import { Lease, type PickRequest, Scheduler } from "../../../src/scheduler/Scheduler.ts"
import { configOf } from "./Gateway.ts"
import { Random } from "./Random.ts"

export interface DecisionCost {
  readonly strategy: StrategyName
  readonly backends: number
  /** Microseconds, by the best of some rounds: what else the machine does is no part of it. */
  readonly micros: number
  /** What the issue allows. */
  readonly limit: number
}

const sizes = [8, 1000]
const rounds = 25
const roundMillis = 4

/** Tokens of the prompt for `prefix_aware`, whose blocks are hashed for each decision; and bytes of each. */
const promptTokens = 4000
const bytesPerToken = 4

export const decisionCosts: Effect.Effect<ReadonlyArray<DecisionCost>> = Effect.gen(function* () {
  const costs: Array<DecisionCost> = []
  for (const strategy of StrategyName.literals) {
    for (const backends of sizes) {
      const micros = yield* costOf(strategy, backends)
      costs.push({ strategy, backends, micros, limit: strategy === "prefix_aware" ? 50 : backends === 8 ? 5 : 20 })
    }
  }
  return costs
})

const costOf = (strategy: StrategyName, count: number): Effect.Effect<number> =>
  Effect.gen(function* () {
    const registry = yield* Registry
    const router = yield* Router
    const scheduler = yield* Scheduler
    const snapshot = registry.current()
    const random = new Random(1)
    for (const { state } of snapshot.backends.values()) {
      // As in the middle of a day: every engine has requests, and a history.
      state.inflight = 5 + random.below(10)
      for (let sample = 0; sample < 20; sample++) state.latency.record(random.lognormal(200, 0.5), 0)
      for (let sample = 0; sample < 20; sample++) state.outcomes.record(random.below(50) > 0, 0)
    }
    const routed = router.route({
      snapshot,
      listener: snapshot.config.listeners[0],
      key: undefined,
      path: "/v1/chat/completions",
      model: undefined,
      now: 0
    })
    const { candidates, pool } = Result.getOrThrow(routed)
    const bodies = strategy === "prefix_aware" ? someBodies(random) : []
    const model = hashText("some-model")
    let turn = 0
    const decide = () => {
      turn++
      const body = bodies[turn % bodies.length]
      const request: PickRequest = {
        pool,
        candidates,
        model: undefined,
        session: undefined,
        hashKey: turn,
        prompt: body === undefined ? undefined : promptBlocks(body, model),
        tried: []
      }
      const lease = scheduler.pick(request, 100 + turn / 100)
      if (lease instanceof Lease) lease.release()
    }
    return leastMicros(decide)
  }).pipe(Effect.provide(layerOf(strategy, count)), EffectRandom.withSeed(1))

const layerOf = (strategy: StrategyName, count: number) => {
  const weights = Array.from({ length: count }, () => 1)
  return Layer.fresh(
    Layer.mergeAll(Router.layer, Scheduler.layer).pipe(
      Layer.provideMerge(Layer.merge(Registry.layerMemory(configOf(strategy, weights)), Capacity.layer))
    )
  )
}

/** Conversations that share a few beginnings. */
const someBodies = (random: Random): ReadonlyArray<Uint8Array> => {
  const text = (tokens: number) =>
    Array.from({ length: tokens * bytesPerToken }, () => String.fromCharCode(97 + random.below(26))).join("")
  const systems = Array.from({ length: 8 }, () => text(promptTokens / 2))
  return Array.from({ length: 64 }, (_, index) => {
    const messages = [
      { role: "system", content: systems[index % systems.length] },
      { role: "user", content: text(promptTokens / 2) }
    ]
    return Buffer.from(JSON.stringify({ model: "some-model", messages, stream: true }))
  })
}

const leastMicros = (decide: () => void): number => {
  const timed = (times: number): number => {
    const start = performance.now()
    for (let n = 0; n < times; n++) decide()
    return performance.now() - start
  }
  let times = 50
  while (timed(times) < roundMillis) times *= 2
  return Math.min(...Array.from({ length: rounds }, () => (timed(times) * 1000) / times))
}
