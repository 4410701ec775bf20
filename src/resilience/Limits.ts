/**
 * What bounds a key's use, one class a kind: a further kind of limit is one more class, and one more entry in `limitsOf`.
 * All are asked before any is taken, and all are taken or none. Times are monotonic milliseconds.
 */
import type { ApiKey } from "../domain/ApiKey.ts"
import { RateLimitExceeded } from "../domain/Errors.ts"
import type { Permits } from "../registry/Registry.ts"
import { TokenBucket } from "./TokenBucket.ts"

/** What is left of a limit, as the `x-ratelimit-*` headers tell it. */
export interface Remaining {
  readonly limit: number
  readonly remaining: number
  /** Milliseconds until nothing of the limit is used any more. */
  readonly reset: number
}

export interface Limit {
  /** As the `x-ratelimit-*` headers name it. */
  readonly kind: string
  /** Whether a request that will use about `tokens` seems to be one that may be sent; takes nothing. */
  readonly has: (tokens: number, now: number) => boolean
  /** Takes what the request will use. Where others share the limit it may be lost to them after `has`: `false`. */
  readonly take: (tokens: number, now: number) => boolean
  /** Gives all of it back: the request is not sent after all. */
  readonly undo: (tokens: number, now: number) => void
  /** The request is over. `used`: the tokens that were counted, `undefined` where they were not. */
  readonly settle: (tokens: number, used: number | undefined, now: number) => void
  /** `undefined` where clients are not told. */
  readonly remaining: (now: number) => Remaining | undefined
  /** What a client is told that it is refused, and the milliseconds until it may try again. */
  readonly refusal: (tokens: number, now: number) => readonly [message: string, waitMillis: number]
}

/** What a client is told that is refused; it may try again after 1 to 60 s. */
export const exceeded = (message: string, waitMillis: number): RateLimitExceeded =>
  new RateLimitExceeded({ message, retryAfter: Math.min(60, Math.max(1, Math.ceil(waitMillis / 1000))) })

/** In the order in which they are asked. The permits outlive a change of the key's limits. */
export const limitsOf = ({ limits }: ApiKey, permits: Permits, now: number): ReadonlyArray<Limit> => [
  new ConcurrentLimit(limits.concurrent ?? Number.POSITIVE_INFINITY, permits),
  ...(limits.tokensPerMinute === undefined ? [] : [new MinuteLimit("tokens", limits.tokensPerMinute, now)]),
  ...(limits.requestsPerMinute === undefined ? [] : [new MinuteLimit("requests", limits.requestsPerMinute, now)])
]

/** Counts where there is no bound, too: one may be configured while requests are under way. */
class ConcurrentLimit implements Limit {
  readonly kind = "concurrent"
  readonly #max: number
  readonly #permits: Permits

  constructor(max: number, permits: Permits) {
    this.#max = max
    this.#permits = permits
  }

  has(): boolean {
    return this.#permits.hasRoom(this.#max)
  }

  take(): boolean {
    return this.#permits.tryTake(this.#max)
  }

  undo(): void {
    this.#permits.release()
  }

  settle(): void {
    this.#permits.release()
  }

  remaining(): undefined {
    return undefined
  }

  refusal(): readonly [string, number] {
    return [`This key may have ${this.#max} requests at once.`, 1000]
  }
}

/** So much a minute, with room for a minute's worth at once. */
class MinuteLimit implements Limit {
  readonly kind: "tokens" | "requests"
  readonly #bucket: TokenBucket
  readonly #cost: (tokens: number) => number
  readonly #says: string

  constructor(kind: MinuteLimit["kind"], perMinute: number, now: number) {
    this.kind = kind
    this.#bucket = new TokenBucket(perMinute, perMinute / 60, now)
    this.#cost = kind === "tokens" ? (tokens) => tokens : () => 1
    this.#says = `This key may ${kind === "tokens" ? "use" : "send"} ${perMinute} ${kind} per minute.`
  }

  has(tokens: number, now: number): boolean {
    return this.#bucket.has(this.#cost(tokens), now)
  }

  take(tokens: number, now: number): boolean {
    return this.#bucket.take(this.#cost(tokens), now)
  }

  undo(tokens: number, now: number): void {
    this.#bucket.settle(this.#cost(tokens), now)
  }

  /** A request that was sent stays one that was sent; tokens are settled by what was used. */
  settle(tokens: number, used: number | undefined, now: number): void {
    this.#bucket.settle(this.#cost(tokens) - this.#cost(used ?? tokens), now)
  }

  remaining(now: number): Remaining {
    return {
      limit: this.#bucket.capacity,
      remaining: Math.max(0, Math.floor(this.#bucket.level(now))),
      reset: this.#bucket.fullIn(now)
    }
  }

  refusal(tokens: number, now: number): readonly [string, number] {
    return [this.#says, this.#bucket.waitFor(this.#cost(tokens), now)]
  }
}
