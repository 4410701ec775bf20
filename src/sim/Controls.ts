/** What can be asked of a running simulator and done to it, in the process or over HTTP. */
import { Effect } from "effect"
import { decodeFaults, encodeFaults, type Fault, type FaultInvalid, type FaultSpec, isRequestFault } from "./Faults.ts"
import type { Instance } from "./Instance.ts"
import type { RequestRecord } from "./RequestLog.ts"

/** Counts since the start or the last reset. Probes and `/sim/*` are in `byPath` only. */
export interface SimulatorStats {
  readonly name: string
  /** Requests that arrived; each is open, or counted in one of the next three. */
  readonly started: number
  /** Answered to the end with a status below 400. */
  readonly finished: number
  /** The client went away before the end. */
  readonly cancelled: number
  /** Answered with an error status, or broken off by a fault. */
  readonly failed: number
  /** Sequences that hold a slot now. */
  readonly running: number
  /** Sequences that wait for a slot now. */
  readonly waiting: number
  readonly maxRunning: number
  readonly promptTokens: number
  readonly cachedTokens: number
  readonly generatedTokens: number
  readonly byPath: Readonly<Record<string, number>>
  readonly faultsPlayed: Readonly<Record<string, number>>
}

export interface SetFaultsOptions {
  /** Keep those that are in force. */
  readonly add?: boolean
  /** What a `refuse` waits for, in the background, before connections are destroyed. */
  readonly refuseAfter?: Effect.Effect<void>
}

export interface Controls {
  readonly stats: Effect.Effect<SimulatorStats>
  /** The last requests (at most 200), oldest first; `/sim/*` is left out. */
  readonly requests: (limit: number) => Effect.Effect<ReadonlyArray<RequestRecord>>
  readonly reset: (options: { readonly cache: boolean }) => Effect.Effect<void>
  /** Reads JSON: one fault, or an array of them. */
  readonly setFaults: (input: unknown, options: SetFaultsOptions) => Effect.Effect<void, FaultInvalid>
  /** Takes all faults back, a refusal of connections too. */
  readonly clearFaults: Effect.Effect<void>
  readonly listFaults: Effect.Effect<ReadonlyArray<FaultSpec>>
}

export const makeControls = Effect.fnUntraced(function* (instance: Instance) {
  const { wire, engine, faults, log } = instance
  const scope = yield* Effect.scope

  const refuse = (all: ReadonlyArray<Fault>, after: Effect.Effect<void> | undefined) =>
    Effect.forEach(
      all,
      (fault) => {
        if (isRequestFault(fault)) return Effect.void
        const shut = Effect.suspend(() => {
          log.faultPlayed(fault.kind)
          log.failAll()
          return wire.refuse(fault.for)
        })
        return after === undefined ? shut : Effect.asVoid(Effect.forkIn(Effect.andThen(after, shut), scope))
      },
      { discard: true }
    )

  const controls: Controls = {
    stats: Effect.sync(() => statsOf(instance)),
    requests: (limit) => Effect.sync(() => log.recent(limit)),
    reset: ({ cache }) =>
      Effect.sync(() => {
        log.reset()
        engine.reset(cache)
      }),
    setFaults: Effect.fnUntraced(function* (input, { add = false, refuseAfter }) {
      const read = yield* decodeFaults(input)
      const ofRequests = read.filter(isRequestFault)
      yield* add ? faults.add(ofRequests) : faults.replace(ofRequests)
      yield* refuse(read, refuseAfter)
    }),
    clearFaults: Effect.andThen(faults.replace([]), wire.reopen),
    listFaults: Effect.suspend(() => Effect.orDie(encodeFaults(faults.list())))
  }
  return controls
})

const statsOf = ({ engine, log, settings }: Instance): SimulatorStats => {
  const { byPath, faultsPlayed, ...counts } = log.counts()
  const { running, waiting } = engine.load()
  const { cachedTokens, generatedTokens, maxRunning, promptTokens } = engine.totals()
  return {
    name: settings.name,
    ...counts,
    running,
    waiting,
    maxRunning,
    promptTokens,
    cachedTokens,
    generatedTokens,
    byPath: Object.fromEntries(byPath),
    faultsPlayed: Object.fromEntries(faultsPlayed)
  }
}
