/**
 * Gray failure: a backend that lives and answers, but many times slower than its peers. It is asked last for a while.
 * No backend is ever cut off by this, and most of a pool is never touched: where all are slow, none is an outlier.
 */
import { Context, Effect, Layer, Schedule } from "effect"
import { memoize } from "effect/Function"
import { MonotonicClock } from "../domain/MonotonicClock.ts"
import { type BackendState, type Member, type PoolEntry, Registry } from "../registry/Registry.ts"
import { ThroughputTracker, typicalOf } from "./ThroughputTracker.ts"

/** The share of a group of peers that may be set back at once; of two, one may. */
const mostOfPeers = 1 / 3

export class OutlierDetector extends Context.Service<
  OutlierDetector,
  {
    /** Looks at all pools now; to be called once a second, as a schedule does. Answers which were ejected. */
    readonly look: () => ReadonlyArray<string>
  }
>()("weir/resilience/OutlierDetector") {
  static readonly layer = Layer.effect(
    OutlierDetector,
    Effect.gen(function* () {
      const registry = yield* Registry
      const clock = yield* MonotonicClock
      const trackOf = memoize((state: BackendState) => new ThroughputTracker(state))

      const lookAt = (members: ReadonlyArray<Member>, now: number): ReadonlyArray<string> => {
        const peers = members.map((member) => {
          const track = trackOf(member.backend.state)
          return { member, track, own: track.sample(member.weight) }
        })
        const allowed = Math.max(1, Math.floor(peers.length * mostOfPeers))
        const typical = typicalOf(peers.map(({ own }) => own))
        let ejected = peers.filter(({ track }) => track.isEjected(now)).length
        const found: Array<string> = []
        for (const { member, own, track } of peers) {
          if (!track.isSlow(own, typical, now) || ejected >= allowed) continue
          ejected++
          track.eject(now)
          found.push(member.backend.name)
        }
        return found
      }

      const look = () => {
        const now = clock.now()
        const { backends, pools } = registry.current()
        for (const { state } of backends.values()) trackOf(state).tick()
        return [...pools.values()].flatMap(peersOf).flatMap((peers) => lookAt(peers, now))
      }
      const tell = (name: string) => {
        registry.publish({ kind: "ejection", name, from: "usual", to: "ejected", reason: ejectionReason })
        return logEjection(name)
      }
      yield* Effect.sync(look).pipe(
        Effect.tap(Effect.forEach(tell, { discard: true })),
        Effect.repeat(Schedule.spaced("1 second")),
        Effect.forkScoped
      )
      return OutlierDetector.of({ look })
    })
  )
}

const ejectionReason = "it is far slower than its peers; it is asked last for a while"

const logEjection = (backend: string) => Effect.logWarning("backend ejected", { backend, reason: ejectionReason })

/** Which can be compared: members of one tier with the same models. One that is alone has no peers. */
const peersOf = ({ members }: PoolEntry): ReadonlyArray<ReadonlyArray<Member>> => {
  const groups = Map.groupBy(members, ({ backend, priority }) => {
    const models = [...(backend.models ?? backend.state.models?.keys() ?? [])]
    return JSON.stringify([priority, ...models.toSorted()])
  })
  return [...groups.values()].filter(({ length }) => length > 1)
}
