/**
 * Gray failure: a backend that lives and answers, but many times slower than its peers. It is asked last for a while.
 * Nobody is ever cut off by this, and most of a pool is never touched: where all are slow, none is an outlier.
 */
import { Context, Effect, Layer, Schedule } from "effect"
import { type BackendState, type PoolEntry, Registry } from "../registry/Registry.ts"
import { Deadlines } from "./Deadlines.ts"

/** Slower than the median of its peers by this factor. */
const factor = 4

/** Judged by at least this many answers since it was last judged. */
const fewest = 5

/** How long it is asked last, the first time and at most; doubled each time that it is found slow again. */
const firstEjection = 10_000
const longestEjection = 300_000

/** The share of a pool that may be set back at once. */
const mostOfPool = 1 / 3

export class OutlierDetector extends Context.Service<
  OutlierDetector,
  {
    /** Looks at all pools now; what a schedule does once a second. Answers who was set back. */
    readonly look: () => ReadonlyArray<string>
  }
>()("weir/resilience/OutlierDetector") {
  static readonly layer = Layer.effect(
    OutlierDetector,
    Effect.gen(function* () {
      const registry = yield* Registry
      const { now } = yield* Deadlines
      const records = new WeakMap<BackendState, Track>()

      const trackOf = (state: BackendState): Track => {
        const known = records.get(state)
        if (known !== undefined) return known
        const made: Track = { judgedCount: state.latency.count, ejections: 0 }
        records.set(state, made)
        return made
      }

      const lookAt = (pool: PoolEntry): ReadonlyArray<string> => {
        const states = [...new Set(pool.members.map(({ backend }) => backend.state))]
        const allowed = Math.floor(states.length * mostOfPool)
        let ejected = states.filter(({ setBackUntil }) => setBackUntil > now()).length
        const found: Array<string> = []
        for (const state of states) {
          const track = trackOf(state)
          if (state.setBackUntil > now() || state.latency.count - track.judgedCount < fewest) continue
          const peers = states.filter((other) => other !== state && other.latency.count >= fewest)
          track.judgedCount = state.latency.count
          if (!isSlow(state, peers)) {
            track.ejections = Math.max(0, track.ejections - 1)
            continue
          }
          if (ejected >= allowed) continue
          ejected++
          state.setBackUntil = now() + Math.min(longestEjection, firstEjection * 2 ** track.ejections)
          track.ejections++
          found.push(state.name)
        }
        return found
      }

      const look = () => [...registry.current().pools.values()].flatMap(lookAt)
      yield* Effect.sync(look).pipe(
        Effect.tap((found) =>
          found.length === 0 ? Effect.void : Effect.logWarning("far slower than its peers", { backends: found })
        ),
        Effect.repeat(Schedule.spaced("1 second")),
        Effect.forkScoped
      )
      return OutlierDetector.of({ look })
    })
  )
}

interface Track {
  /** Answers that had come when it was last judged. */
  judgedCount: number
  ejections: number
}

const isSlow = (state: BackendState, peers: ReadonlyArray<BackendState>): boolean => {
  const others = peers.map(({ latency }) => latency.average).toSorted((a, b) => a - b)
  const median = others[Math.floor(others.length / 2)]
  return median !== undefined && state.latency.average > factor * median
}
