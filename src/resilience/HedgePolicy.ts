/** When a second attempt may run beside the first: late enough to be rare, and never more often than configured. */
import { Context, Effect, Layer } from "effect"
import { MonotonicClock } from "../domain/MonotonicClock.ts"
import { LatencyTrack, type PoolEntry, SlidingWindow } from "../registry/Registry.ts"

const budgetMillis = 10_000

/** Fewer samples say nothing about a percentile. */
const minSamples = 20

/** Milliseconds for which a percentile is good; working it out sorts all samples. */
const percentileMillis = 1000

export class HedgePolicy extends Context.Service<
  HedgePolicy,
  {
    /** To be told how long the first output of each request took, in milliseconds. */
    readonly observed: (pool: PoolEntry, streaming: boolean, millis: number) => void
    /** Milliseconds to wait for the first output before hedging; `undefined`: not at all. */
    readonly delay: (pool: PoolEntry, streaming: boolean) => number | undefined
    /** Takes one hedge from the pool's share, if there is one left. */
    readonly take: (pool: PoolEntry) => boolean
  }
>()("weir/resilience/HedgePolicy") {
  static readonly layer = Layer.effect(
    HedgePolicy,
    Effect.gen(function* () {
      const clock = yield* MonotonicClock
      const pools = new Map<string, PoolSamples>()
      const samplesOf = (pool: PoolEntry): PoolSamples => {
        const known = pools.get(pool.name)
        if (known !== undefined) return known
        const made: PoolSamples = { streams: makeTrack(), wholes: makeTrack(), window: new SlidingWindow(budgetMillis) }
        pools.set(pool.name, made)
        return made
      }

      return HedgePolicy.of({
        observed: (pool, streaming, millis) => {
          if (pool.config.hedge === undefined) return
          const samples = samplesOf(pool)
          const now = clock.now()
          samples.window.record(true, now)
          ;(streaming ? samples.streams : samples.wholes).track.record(millis, now)
        },
        delay: (pool, streaming) => {
          const { hedge } = pool.config
          if (hedge === undefined) return undefined
          const samples = samplesOf(pool)
          const share = Number(hedge.after.slice(1)) / 100
          return percentile(streaming ? samples.streams : samples.wholes, share, clock.now())
        },
        take: (pool) => {
          const { hedge } = pool.config
          if (hedge === undefined) return false
          const { window } = samplesOf(pool)
          const now = clock.now()
          const hedges = window.failures(now)
          if (hedges + 1 > hedge.maxRatio * (window.total(now) - hedges)) return false
          window.record(false, now)
          return true
        }
      })
    })
  )
}

interface Samples {
  readonly track: LatencyTrack
  value: number
  workedOutAt: number
}

interface PoolSamples {
  readonly streams: Samples
  readonly wholes: Samples
  /** A "success" is a request, a "failure" a hedge. */
  readonly window: SlidingWindow
}

const makeTrack = (): Samples => ({ track: new LatencyTrack(), value: 0, workedOutAt: Number.NEGATIVE_INFINITY })

const percentile = (samples: Samples, share: number, now: number): number | undefined => {
  if (samples.track.count < minSamples) return undefined
  if (now - samples.workedOutAt > percentileMillis) {
    samples.value = samples.track.percentiles(share)[0] ?? 0
    samples.workedOutAt = now
  }
  return samples.value
}
