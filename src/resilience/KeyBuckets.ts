/** The limits of one key as one: a request takes all of them, or none and is told why. */
import { Equal, Result } from "effect"
import type { ApiKey } from "../domain/ApiKey.ts"
import type { RateLimitExceeded } from "../domain/Errors.ts"
import type { Permits } from "../registry/Registry.ts"
import { exceeded, type Limit, limitsOf, type Remaining } from "./Limits.ts"

export interface KeyUse {
  /** To be called exactly once, with the tokens that were really used, or `undefined` where they were not counted. */
  readonly settle: (tokens: number | undefined) => void
  /** What is left of each limit that clients are told of, by its kind. */
  readonly remaining: () => ReadonlyArray<readonly [kind: string, left: Remaining]>
}

export interface KeyServices {
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** Called after each request of the key that has ended. */
  readonly settled: () => void
}

export class KeyBuckets {
  /** What the key has at work, which outlives a change of its limits. */
  readonly permits: Permits
  readonly #settings: ApiKey["limits"]
  readonly #limits: ReadonlyArray<Limit>
  readonly #services: KeyServices

  constructor(
    key: ApiKey,
    permits: Permits,
    services: KeyServices,
    limits: ReadonlyArray<Limit> = limitsOf(key, permits, services.now())
  ) {
    this.permits = permits
    this.#settings = key.limits
    this.#limits = limits
    this.#services = services
  }

  /** Whether a request of the key is at work: then it must not be forgotten. */
  get isInUse(): boolean {
    return this.permits.active > 0
  }

  /** Whether a key's limits still are those that this was made for. */
  fits({ limits }: ApiKey): boolean {
    return limits === this.#settings || Equal.equals(limits, this.#settings)
  }

  /** One request that will use about `estimate` tokens. */
  take(estimate: number): Result.Result<KeyUse, RateLimitExceeded> {
    const now = this.#services.now()
    const lacking = this.#limits.find((limit) => !limit.has(estimate, now)) ?? this.#takeAll(estimate, now)
    if (lacking !== undefined) return Result.fail(exceeded(...lacking.refusal(estimate, now)))
    return Result.succeed({
      settle: (used) => {
        const settledAt = this.#services.now()
        for (const limit of this.#limits) limit.settle(estimate, used, settledAt)
        this.#services.settled()
      },
      remaining: () => {
        const asked = this.#services.now()
        return this.#limits.flatMap((limit) => {
          const left = limit.remaining(asked)
          return left === undefined ? [] : [[limit.kind, left] as const]
        })
      }
    })
  }

  /** The first one that was lost to others; those before it are given back then. */
  #takeAll(estimate: number, now: number): Limit | undefined {
    const lost = this.#limits.findIndex((limit) => !limit.take(estimate, now))
    if (lost === -1) return undefined
    for (const taken of this.#limits.slice(0, lost)) taken.undo(estimate, now)
    return this.#limits[lost]
  }
}
