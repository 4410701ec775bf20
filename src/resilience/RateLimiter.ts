/**
 * What a client address and a key may use. Exact on one machine: asking and taking are one synchronous step. Every
 * check is O(1), however many keys and addresses there are.
 *
 * Own code instead of `effect/persistence` RateLimiter, whose memory store keeps every key for ever, and which has
 * neither a refund nor a way to look without taking.
 */
import { Context, Effect, Equal, Layer, Result } from "effect"
import { LRUCache } from "lru-cache"
import { clientNetwork } from "../domain/Addresses.ts"
import type { ApiKey } from "../domain/ApiKey.ts"
import { RateLimitExceeded } from "../domain/Errors.ts"
import type { Listener } from "../domain/Listener.ts"
import { MonotonicClock } from "../domain/MonotonicClock.ts"
import { type AtWork, type Limit, limitsOf, type Remaining } from "./Limits.ts"
import { TokenBucket } from "./TokenBucket.ts"

export type { Remaining } from "./Limits.ts"

export interface KeyUse {
  /** To be called exactly once, with the tokens that were really used, or `undefined` where they were not counted. */
  readonly settle: (tokens: number | undefined) => void
  /** What is left of each limit that clients are told of, by its kind. */
  readonly remaining: () => ReadonlyArray<readonly [kind: string, left: Remaining]>
}

/** Addresses that are remembered; those not seen for the longest are forgotten first. */
const rememberedAddresses = 100_000

export class RateLimiter extends Context.Service<
  RateLimiter,
  {
    /** One request of an address on a listener; all of an IPv6 /64 count as one. `undefined`: it may pass. */
    readonly takeAddress: (listener: Listener, address: string) => RateLimitExceeded | undefined
    /** One request of a key that will use about `tokens`. */
    readonly takeKey: (key: ApiKey, tokens: number) => Result.Result<KeyUse, RateLimitExceeded>
  }
>()("weir/resilience/RateLimiter") {
  static readonly layer = Layer.effect(
    RateLimiter,
    Effect.gen(function* () {
      const { now } = yield* MonotonicClock
      const addresses = new LRUCache<string, TokenBucket>({ maxSize: rememberedAddresses, sizeCalculation: () => 1 })
      const keys = new Map<string, KeyBuckets>()

      const takeAddress = (listener: Listener, address: string): RateLimitExceeded | undefined => {
        const limit = listener.rateLimit
        if (limit === undefined) return undefined
        const id = `${listener.name} ${clientNetwork(address)}`
        let bucket = addresses.get(id)
        if (bucket?.capacity !== limit.burst || bucket.perSecond !== limit.perSecond) {
          bucket = new TokenBucket(limit.burst, limit.perSecond, now())
          addresses.set(id, bucket)
        }
        return bucket.take(1, now())
          ? undefined
          : exceeded(
              `Too many requests from this address: ${limit.perSecond} per second are allowed.`,
              bucket.waitFor(1, now())
            )
      }

      const bucketsOf = (key: ApiKey): KeyBuckets => {
        const known = keys.get(key.name)
        if (known !== undefined && known.fits(key)) return known
        const made = new KeyBuckets(key, now, known?.atWork ?? { count: 0 })
        keys.set(key.name, made)
        return made
      }

      return RateLimiter.of({ takeAddress, takeKey: (key, tokens) => bucketsOf(key).take(tokens) })
    })
  )
}

const exceeded = (message: string, waitMillis: number): RateLimitExceeded =>
  new RateLimitExceeded({ message, retryAfter: Math.min(60, Math.max(1, Math.ceil(waitMillis / 1000))) })

/** The limits of one key. What it has at work outlives a change of them. */
class KeyBuckets {
  readonly atWork: AtWork
  readonly #settings: ApiKey["limits"]
  readonly #limits: ReadonlyArray<Limit>
  readonly #now: () => number

  constructor(key: ApiKey, now: () => number, atWork: AtWork) {
    this.atWork = atWork
    this.#settings = key.limits
    this.#limits = limitsOf(key, atWork, now())
    this.#now = now
  }

  fits({ limits }: ApiKey): boolean {
    return limits === this.#settings || Equal.equals(limits, this.#settings)
  }

  take(estimate: number): Result.Result<KeyUse, RateLimitExceeded> {
    const now = this.#now()
    const lacking = this.#limits.find((limit) => !limit.has(estimate, now))
    if (lacking !== undefined) return Result.fail(exceeded(...lacking.refusal(estimate, now)))
    for (const limit of this.#limits) limit.take(estimate, now)
    return Result.succeed({
      settle: (used) => {
        const settledAt = this.#now()
        for (const limit of this.#limits) limit.settle(estimate, used, settledAt)
      },
      remaining: () => {
        const asked = this.#now()
        return this.#limits.flatMap((limit) => {
          const left = limit.remaining(asked)
          return left === undefined ? [] : [[limit.kind, left] as const]
        })
      }
    })
  }
}
