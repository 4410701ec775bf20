/**
 * One pool's queue: how many requests are at work, and which wait for what. Plain and synchronous; `Admission` makes
 * effects of it.
 *
 * A request waits in a lane for each group (what it waits for: a model's candidates) and priority, so that a full
 * model holds up no request for another one.
 */
import type { Permits } from "../registry/Registry.ts"

/** What an attempt to enter finds. */
export type Attempted<A, E> =
  | { readonly _tag: "Granted"; readonly value: A }
  | { readonly _tag: "Wait" }
  | { readonly _tag: "Refused"; readonly error: E }

export interface Waiter {
  readonly group: string
  /** Lower first; within one priority, first come. */
  readonly priority: number
  readonly order: number
  /** Already counted as at work: a request that looks for its next backend. */
  readonly holdsPermit: boolean
  /**
   * Looks again, and if something came of it tells the request. Answers whether it did. A request that is told may go on, and
   * come back to this room, before this returns: it must have left its lane by then.
   */
  readonly tryAcquire: (maxConcurrent: number) => "entered" | "gone" | "wait"
}

interface Lane {
  readonly group: string
  readonly priority: number
  readonly waiters: Set<Waiter>
}

/** How far back the rate of leaving looks, in milliseconds: what is older counts less and less. */
const memoryMillis = 10_000

export class WaitQueue {
  /** Of those at work. */
  readonly permits: Permits
  /** All that wait. */
  waiting = 0
  /** Those of them who have no permit: the ones that places in the queue are for. */
  queued = 0
  readonly #lanes = new Map<string, Lane>()
  #lastDeparture = Number.NEGATIVE_INFINITY
  /** Departures, and the milliseconds in which they were counted, both weighted by their age. */
  #departures = 0
  #countedMillis = 0

  constructor(permits: Permits) {
    this.permits = permits
  }

  /** Whether a request is at work or waits: then it must not be forgotten. */
  get isInUse(): boolean {
    return this.permits.active > 0 || this.waiting > 0
  }

  /** Whether a request waits for the same with the same or a better claim: a newcomer must not overtake them. */
  isBehind(group: string, priority: number): boolean {
    if (this.waiting === 0) return false
    for (const lane of this.#lanes.values()) {
      if (lane.group === group && lane.priority <= priority) return true
    }
    return false
  }

  enqueue(waiter: Waiter): void {
    const key = `${waiter.priority} ${waiter.group}`
    let lane = this.#lanes.get(key)
    if (lane === undefined) {
      lane = { group: waiter.group, priority: waiter.priority, waiters: new Set() }
      this.#lanes.set(key, lane)
    }
    lane.waiters.add(waiter)
    this.waiting++
    if (!waiter.holdsPermit) this.queued++
  }

  remove(waiter: Waiter): void {
    const key = `${waiter.priority} ${waiter.group}`
    const lane = this.#lanes.get(key)
    if (lane?.waiters.delete(waiter) !== true) return
    this.waiting--
    if (!waiter.holdsPermit) this.queued--
    if (lane.waiters.size === 0) this.#lanes.delete(key)
  }

  /** Lets in what can be let in now, best claim first. */
  admitWaiting(maxConcurrent: number): void {
    if (this.waiting === 0) return
    const stuck = new Set<Lane>()
    for (;;) {
      const next = this.#best(stuck, this.permits.hasRoom(maxConcurrent))
      if (next === undefined) return
      const [lane, waiter] = next
      if (waiter.tryAcquire(maxConcurrent) === "wait") stuck.add(lane)
      else this.remove(waiter)
    }
  }

  /** A request has left: what the rate of leaving is measured by. */
  departed(now: number): void {
    const [departures, countedMillis] = this.#rate(now)
    this.#lastDeparture = now
    this.#departures = countedMillis === undefined ? 0 : departures + 1
    this.#countedMillis = countedMillis ?? 0
  }

  /** Whole seconds, 1 to 60, after which a place is likely: the length of the lane over the rate of leaving. */
  retryAfter(now: number, otherwise: number): number {
    const [departures, countedMillis] = this.#rate(now)
    const known = countedMillis !== undefined && departures > 0
    const seconds = known ? ((this.waiting + 1) * countedMillis) / 1000 / departures : otherwise
    return Math.min(60, Math.max(1, Math.ceil(seconds)))
  }

  /** Both figures as of now; after a silence that is longer than {@link memoryMillis}, the watch begins anew. */
  #rate(now: number): readonly [departures: number, countedMillis: number | undefined] {
    const silence = now - this.#lastDeparture
    if (silence > memoryMillis) return [0, undefined]
    const kept = Math.exp(-silence / memoryMillis)
    return [this.#departures * kept, this.#countedMillis * kept + memoryMillis * (1 - kept)]
  }

  #best(stuck: ReadonlySet<Lane>, hasPermit: boolean): readonly [Lane, Waiter] | undefined {
    let best: readonly [Lane, Waiter] | undefined
    for (const lane of this.#lanes.values()) {
      if (stuck.has(lane)) continue
      const head = firstThat(lane.waiters, (waiter) => hasPermit || waiter.holdsPermit)
      if (head === undefined) continue
      const better =
        best === undefined ||
        lane.priority < best[0].priority ||
        (lane.priority === best[0].priority && head.order < best[1].order)
      if (better) best = [lane, head]
    }
    return best
  }
}

/** Without a permit to give, only those that have one can move: they may stand behind others. */
const firstThat = (waiters: Set<Waiter>, holds: (waiter: Waiter) => boolean): Waiter | undefined => {
  for (const waiter of waiters) if (holds(waiter)) return waiter
  return undefined
}
