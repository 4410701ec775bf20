/**
 * What a client address and a key may use. Exact on one machine: asking and taking are one synchronous step. Every
 * check is O(1), however many keys and addresses there are.
 *
 * Own code instead of `effect/persistence` RateLimiter, whose memory store keeps every key for ever, and which has
 * neither a refund nor a way to look without taking.
 */
import { Context, Effect, Layer } from "effect"
import type { ApiKey } from "../domain/ApiKey.ts"
import { RateLimitExceeded } from "../domain/Errors.ts"
import type { Listener } from "../domain/Listener.ts"
import { Deadlines } from "./Deadlines.ts"
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

/** Addresses that are remembered; the one not seen for the longest is forgotten first. */
const rememberedAddresses = 100_000

export class RateLimiter extends Context.Service<
  RateLimiter,
  {
    /** One request of an address on a listener; `undefined`: it may pass. */
    readonly takeAddress: (listener: Listener, address: string) => RateLimitExceeded | undefined
    /** One request of a key that will use about `tokens`. */
    readonly takeKey: (key: ApiKey, tokens: number) => KeyUse | RateLimitExceeded
  }
>()("weir/resilience/RateLimiter") {
  static readonly layer = Layer.effect(
    RateLimiter,
    Effect.gen(function* () {
      const { now } = yield* Deadlines
      // In order of use: a Map keeps insertion order, and every use inserts anew.
      const addresses = new Map<string, TokenBucket>()
      const desks = new Map<string, KeyDesk>()

      const takeAddress = (listener: Listener, address: string): RateLimitExceeded | undefined => {
        const limit = listener.rateLimit
        if (limit === undefined) return undefined
        const id = `${listener.name} ${address}`
        const known = addresses.get(id)
        const bucket = known?.capacity === limit.burst ? known : new TokenBucket(limit.burst, limit.perSecond, now())
        addresses.delete(id)
        addresses.set(id, bucket)
        if (addresses.size > rememberedAddresses) forgetOldest(addresses)
        return bucket.take(1, now())
          ? undefined
          : exceeded(
              `Too many requests from this address: ${limit.perSecond} per second are allowed.`,
              bucket.waitFor(1, now())
            )
      }

      const deskOf = (key: ApiKey): KeyDesk => {
        const known = desks.get(key.name)
        if (known !== undefined && known.fits(key)) return known
        const made = new KeyDesk(key, now)
        desks.set(key.name, made)
        return made
      }

      return RateLimiter.of({ takeAddress, takeKey: (key, tokens) => deskOf(key).take(tokens) })
    })
  )
}

const forgetOldest = (table: Map<string, TokenBucket>): void => {
  for (const id of table.keys()) {
    table.delete(id)
    return
  }
}

const exceeded = (message: string, waitMillis: number): RateLimitExceeded =>
  new RateLimitExceeded({ message, retryAfter: Math.min(60, Math.max(1, Math.ceil(waitMillis / 1000))) })

/** The buckets of one key. */
class KeyDesk {
  readonly #limits: ApiKey["limits"]
  readonly #now: () => number
  readonly #requests: TokenBucket | undefined
  readonly #tokens: TokenBucket | undefined
  #running = 0

  constructor({ limits }: ApiKey, now: () => number) {
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
    if (concurrent !== undefined && this.#running >= concurrent) {
      return exceeded(`This key may have ${concurrent} requests at once.`, 1000)
    }
    if (this.#tokens?.has(estimate, now) === false) {
      return exceeded(`This key may use ${tokensPerMinute} tokens per minute.`, this.#tokens.waitFor(estimate, now))
    }
    if (this.#requests?.take(1, now) === false) {
      return exceeded(`This key may send ${requestsPerMinute} requests per minute.`, this.#requests.waitFor(1, now))
    }
    this.#tokens?.take(estimate, now)
    this.#running++
    return {
      settle: (used) => {
        this.#running--
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
