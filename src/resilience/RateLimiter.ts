/**
 * What a client address and a key may use. Exact on one machine: asking and taking are one synchronous step. Every
 * check is O(1), however many keys and addresses there are.
 *
 * Own code instead of `effect/persistence` RateLimiter, whose memory store keeps every key for ever, and which has
 * neither a refund nor a way to look without taking.
 */
import { Context, Effect, Layer } from "effect"
import { LRUCache } from "lru-cache"
import { clientNetwork } from "../domain/Addresses.ts"
import type { ApiKey } from "../domain/ApiKey.ts"
import { RateLimitExceeded } from "../domain/Errors.ts"
import type { Listener } from "../domain/Listener.ts"
import { Timers } from "./Timers.ts"
import { TokenBucket } from "./TokenBucket.ts"

/** What is left of a limit, as the `x-ratelimit-*` headers tell it. */
export interface Remaining {
  readonly limit: number
  readonly remaining: number
  /** Milliseconds until nothing of the limit is used any more. */
  readonly reset: number
}

export interface KeyUse {
  /** To be called exactly once, with the tokens that were really used, or `undefined` where nobody counted them. */
  readonly settle: (tokens: number | undefined) => void
  readonly requests: () => Remaining | undefined
  readonly tokens: () => Remaining | undefined
}

/** Addresses that are remembered; those not seen for the longest are forgotten first. */
const rememberedAddresses = 100_000

export class RateLimiter extends Context.Service<
  RateLimiter,
  {
    /** One request of an address on a listener; all of an IPv6 /64 count as one. `undefined`: it may pass. */
    readonly takeAddress: (listener: Listener, address: string) => RateLimitExceeded | undefined
    /** One request of a key that will use about `tokens`. */
    readonly takeKey: (key: ApiKey, tokens: number) => KeyUse | RateLimitExceeded
  }
>()("weir/resilience/RateLimiter") {
  static readonly layer = Layer.effect(
    RateLimiter,
    Effect.gen(function* () {
      const { now } = yield* Timers
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

/** The buckets of one key. What it has at work outlives a change of its limits. */
class KeyBuckets {
  readonly atWork: { count: number }
  readonly #limits: ApiKey["limits"]
  readonly #now: () => number
  readonly #requests: TokenBucket | undefined
  readonly #tokens: TokenBucket | undefined

  constructor({ limits }: ApiKey, now: () => number, atWork: { count: number }) {
    this.atWork = atWork
    this.#limits = limits
    this.#now = now
    this.#requests = perMinute(limits.requestsPerMinute, now())
    this.#tokens = perMinute(limits.tokensPerMinute, now())
  }

  fits({ limits }: ApiKey): boolean {
    return (
      limits.requestsPerMinute === this.#limits.requestsPerMinute &&
      limits.tokensPerMinute === this.#limits.tokensPerMinute &&
      limits.concurrent === this.#limits.concurrent
    )
  }

  take(estimate: number): KeyUse | RateLimitExceeded {
    const now = this.#now()
    const { concurrent, requestsPerMinute, tokensPerMinute } = this.#limits
    if (concurrent !== undefined && this.atWork.count >= concurrent) {
      return exceeded(`This key may have ${concurrent} requests at once.`, 1000)
    }
    if (this.#tokens?.has(estimate, now) === false) {
      return exceeded(`This key may use ${tokensPerMinute} tokens per minute.`, this.#tokens.waitFor(estimate, now))
    }
    if (this.#requests?.take(1, now) === false) {
      return exceeded(`This key may send ${requestsPerMinute} requests per minute.`, this.#requests.waitFor(1, now))
    }
    this.#tokens?.take(estimate, now)
    this.atWork.count++
    return {
      settle: (used) => {
        this.atWork.count--
        this.#tokens?.settle(estimate - (used ?? estimate), this.#now())
      },
      requests: () => this.#remaining(this.#requests),
      tokens: () => this.#remaining(this.#tokens)
    }
  }

  #remaining(bucket: TokenBucket | undefined): Remaining | undefined {
    if (bucket === undefined) return undefined
    const now = this.#now()
    return { limit: bucket.capacity, remaining: Math.max(0, Math.floor(bucket.level(now))), reset: bucket.fullIn(now) }
  }
}

const perMinute = (limit: number | undefined, now: number): TokenBucket | undefined =>
  limit === undefined ? undefined : new TokenBucket(limit, limit / 60, now)
