/**
 * How fast a backend works, second by second, against its peers. Two signs must come together for it to be called slow,
 * since each alone comes with any busy minute: its answers begin far later than theirs (which a queue or long prompts
 * do too), and far fewer of its requests come to their end than as many would with them (which long answers do too).
 */
import type { BackendState } from "../registry/Registry.ts"

/** Requests that should have ended before missing ones say anything; fewer where it was found slow just before. */
const minExpected = 32
const minExpectedAgain = 8

/** Of those, no more than this share have: one that is ten times slower ends a tenth. */
const endedShare = 1 / 6

/** Its answers begin so many times later than is typical of its peers, by the median of the newestSamples few of each. */
const lateFactor = 3
const newestSamples = 5

/** Seconds that are looked back at most, and those over which a pace is measured. */
const memorySeconds = 30
const rateSeconds = 10

/** Of requests above so many times what its peers have, none is expected to end: they wait. */
const maxLoadRatio = 1.5

/** How long it is asked last, the first time and at most; doubled each time that it is found slow again. */
const firstEjectionMillis = 10_000
const maxEjectionMillis = 300_000

interface Second {
  readonly sent: number
  readonly ended: number
  /** Answers that began. */
  readonly began: number
  readonly inflight: number
  /** How many of them would have ended with its peers; `undefined` before it was looked at. */
  expected: number | undefined
}

/** What peers are compared by; each `undefined` where there is nothing to go by. */
export interface ThroughputSample {
  readonly weight: number
  /** Requests in flight, per weight. */
  readonly load: number
  /** Of the requests that it has, the share that ends within a second. */
  readonly completionRate: number | undefined
  /** Milliseconds until its answers begin. */
  readonly timeToFirstByte: number | undefined
}

/** What is typical of all peers but one. */
export interface Typical {
  readonly weight: Median
  readonly load: Median
  readonly completionRate: Median
  readonly timeToFirstByte: Median
}

/** Mutable by nature: one for the life of a backend. */
export class ThroughputTracker {
  readonly #state: BackendState
  #sentEver: number
  #endedEver: number
  #beganEver: number
  /** The newestSamples first. */
  #seconds: Array<Second> = []
  #timesInARow = 0
  #suspected = false

  constructor(state: BackendState) {
    this.#state = state
    this.#sentEver = state.requests
    this.#endedEver = state.requests - state.inflight
    this.#beganEver = state.latency.count
  }

  isEjected(now: number): boolean {
    return this.#state.ejectedUntil > now
  }

  /** A second is over. */
  tick(): void {
    const { inflight, latency, requests } = this.#state
    this.#seconds.unshift({
      sent: requests - this.#sentEver,
      ended: Math.max(0, requests - inflight - this.#endedEver),
      began: latency.count - this.#beganEver,
      inflight,
      expected: undefined
    })
    this.#sentEver = requests
    this.#endedEver = requests - inflight
    this.#beganEver = latency.count
    if (this.#seconds.length > memorySeconds) this.#seconds.pop()
  }

  sample(weight: number): ThroughputSample {
    const { inflight, latency } = this.#state
    let ended = 0
    let requestSeconds = 0
    for (let age = 0; age < rateSeconds; age++) {
      ended += this.#seconds[age]?.ended ?? 0
      requestSeconds += this.#seconds[age]?.inflight ?? 0
    }
    return {
      weight,
      load: inflight / weight,
      completionRate: requestSeconds < rateSeconds ? undefined : ended / requestSeconds,
      timeToFirstByte: latency.count < newestSamples ? undefined : latency.recent(newestSamples)
    }
  }

  /** Whether it is far slower than its peers; to be asked once a second, after {@link tick}. */
  isSlow(own: ThroughputSample, typical: Typical, now: number): boolean {
    if (this.isEjected(now)) {
      this.#seconds = []
      return false
    }
    const { weight } = own
    // Weights may stand for speed, or not: one with less of it may be slower by as much, none must be faster.
    const speedShare = Math.min(1, weight / (typical.weight.without(weight) ?? weight))
    this.#expect(speedShare, own, typical)
    const period = this.#period()
    return (
      this.#endsFew(period) &&
      this.#beginsLate(period, speedShare, typical.timeToFirstByte.without(own.timeToFirstByte))
    )
  }

  /** It is asked last for a while, and comes back to little work, to be judged by fewer requests than before. */
  eject(now: number): void {
    const isNewTrouble = now - this.#state.ejectedUntil > maxEjectionMillis
    this.#timesInARow = isNewTrouble ? 0 : this.#timesInARow + 1
    const until = now + Math.min(maxEjectionMillis, firstEjectionMillis * 2 ** this.#timesInARow)
    this.#state.ejectedUntil = until
    this.#state.recoveredAt = until
    this.#suspected = true
    this.#seconds = []
  }

  #expect(speedShare: number, own: ThroughputSample, typical: Typical): void {
    const second = this.#seconds[0]
    const rate = typical.completionRate.without(own.completionRate)
    const load = typical.load.without(own.load)
    if (second === undefined || rate === undefined || load === undefined) return
    const expected = rate * speedShare * Math.min(second.inflight, maxLoadRatio * Math.max(1, load * own.weight))
    // In several pools, the most lenient view of it counts.
    second.expected = Math.min(second.expected ?? expected, expected)
  }

  /** The newestSamples seconds in which enough should have ended for missing ones to say something; none if it is not enough. */
  #period(): ReadonlyArray<Second> {
    const wanted = this.#suspected ? minExpectedAgain : minExpected
    let expected = 0
    const last = this.#seconds.findIndex((second) => (expected += second.expected ?? 0) >= wanted)
    return this.#seconds.slice(0, last + 1)
  }

  #endsFew(period: ReadonlyArray<Second>): boolean {
    if (period.length === 0) return false
    const endsFew = sumOf(period, "ended") <= endedShare * sumOf(period, "expected")
    if (!endsFew) this.#suspected = false
    return endsFew
  }

  #beginsLate(period: ReadonlyArray<Second>, speedShare: number, typical: number | undefined): boolean {
    if (typical === undefined) return false
    const began = Math.min(newestSamples, sumOf(period, "began"))
    if (began > 0) return this.#state.latency.recent(began) * speedShare > lateFactor * typical
    // No answer at all: it has been silent for so long.
    return sumOf(period, "sent") > 0 && period.length * 1000 * speedShare > lateFactor * typical
  }
}

const sumOf = (seconds: ReadonlyArray<Second>, what: "began" | "ended" | "expected" | "sent"): number => {
  let total = 0
  for (const second of seconds) total += second[what] ?? 0
  return total
}

/** Of all peers; sorted once, so that it does not cost more for each of them. */
export const typicalOf = (peers: ReadonlyArray<ThroughputSample>): Typical => ({
  weight: new Median(peers.map(({ weight }) => weight)),
  load: new Median(peers.map(({ load }) => load)),
  completionRate: new Median(peers.map(({ completionRate }) => completionRate)),
  timeToFirstByte: new Median(peers.map(({ timeToFirstByte }) => timeToFirstByte))
})

class Median {
  readonly #sorted: ReadonlyArray<number>

  constructor(values: ReadonlyArray<number | undefined>) {
    this.#sorted = values.filter((value) => value !== undefined).toSorted((a, b) => a - b)
  }

  /** The (upper) median of all values but `own`, which must be one of them if it is there. */
  without(own: number | undefined): number | undefined {
    if (own === undefined) return this.#sorted[Math.floor(this.#sorted.length / 2)]
    const middle = Math.floor((this.#sorted.length - 1) / 2)
    const candidate = this.#sorted[middle]
    return candidate !== undefined && own <= candidate ? this.#sorted[middle + 1] : candidate
  }
}
