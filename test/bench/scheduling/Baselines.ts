/** What Weir's scheduler is compared with: a plain round robin, and a dispatcher that knows everything. */
import { type Engine, type Job, shape } from "./Engine.ts"
import type { Dispatcher } from "./Simulation.ts"

const ignore = () => {}

/**
 * Places each job where its first token will come soonest, and among nearly equals where its end will: with the real
 * state of every engine before it (slots, backlog, the cache as it is), and the length of every answer. What no gateway
 * can know; the floor under everything that one can do by choosing.
 */
export const floor = (engines: ReadonlyArray<Engine>): Dispatcher => ({
  place: (job) => {
    let best: number | undefined
    let soonest = Number.POSITIVE_INFINITY
    for (const [index, engine] of engines.entries()) {
      if (!engine.alive) continue
      const expected = cost(engine, job)
      if (expected >= soonest) continue
      soonest = expected
      best = index
    }
    return best
  },
  onFirstToken: ignore,
  onFinished: ignore,
  onFailed: ignore,
  onSecond: ignore
})

const cost = (engine: Engine, job: Job): number => {
  const step = engine.stepMillis()
  const uncached = engine.uncachedTokens(job)
  const prefill = ((engine.backlogTokens() + uncached) * shape.prefillMillisPerToken) / engine.speed
  const toSlot = engine.stepsUntilSlot(engine.waiting.length) * step
  // To compute what another engine has in its cache takes capacity from all: half of it is charged again.
  const waste = (uncached * shape.prefillMillisPerToken) / engine.speed / 2
  const crowding = (shape.stepMillisPerSequence * (engine.load + 1) * 20) / engine.speed
  return toSlot + prefill + step + waste + crowding
}
