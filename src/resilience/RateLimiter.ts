/**
 * What a client address and a key may use. Exact on one machine: asking and taking are one synchronous step. Every
 * check is O(1), however many keys and addresses there are.
 *
 * Own code instead of `effect/persistence` RateLimiter, whose memory store keeps every key for ever, and which has
 * neither a refund nor a way to look without taking.
 */
import { Context, Effect, Layer, type Result } from "effect"
import { LRUCache } from "lru-cache"
import { clientNetwork } from "../domain/Addresses.ts"
import type { ApiKey } from "../domain/ApiKey.ts"
import type { RateLimitExceeded } from "../domain/Errors.ts"
import type { Listener } from "../domain/Listener.ts"
import { MonotonicClock } from "../domain/MonotonicClock.ts"
import { Capacity, derived, forgetGone, Registry } from "../registry/Registry.ts"
import { KeyBuckets, type KeyUse } from "./KeyBuckets.ts"
import { exceeded } from "./Limits.ts"
import { TokenBucket } from "./TokenBucket.ts"

export type { KeyUse } from "./KeyBuckets.ts"
export type { Remaining } from "./Limits.ts"

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
      const registry = yield* Registry
      const capacity = yield* Capacity
      const addresses = new LRUCache<string, TokenBucket>({ maxSize: rememberedAddresses, sizeCalculation: () => 1 })
      const keys = new Map<string, KeyBuckets>()
      const inForce = derived(registry.current, ({ config }) => new Set(config.keys.map(({ name }) => name)))
      yield* registry.follow(() => Effect.sync(() => forgetGone(keys, inForce(), ({ isInUse }) => isInUse)))

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
        const permits = known?.permits ?? capacity.permits("key", key.name)
        const made = new KeyBuckets(key, permits, { now, settled: () => forgetUnused(key.name) })
        keys.set(key.name, made)
        return made
      }
      /** A key that is gone was kept for its last request. */
      const forgetUnused = (name: string) => {
        if (!inForce().has(name) && keys.get(name)?.isInUse === false) keys.delete(name)
      }

      return RateLimiter.of({ takeAddress, takeKey: (key, tokens) => bucketsOf(key).take(tokens) })
    })
  )
}
