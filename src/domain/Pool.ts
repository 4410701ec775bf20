/** A pool: backends that can stand in for each other, and how work is shared among them. */
import { Option, Result, Schema } from "effect"
import { compileRegExp } from "./LinearRegExp.ts"
import { HeaderValue, Name } from "./Names.ts"
import { between, decimal, flag, orElse, Timeouts } from "./Settings.ts"
import { Span } from "./Units.ts"

const decodeUri = Option.liftThrowable(decodeURIComponent)

/** The ways to choose a backend; each is one file in `scheduler/strategies`. */
export const StrategyName = Schema.Literals([
  "round_robin",
  "weighted_round_robin",
  "random",
  "least_inflight",
  "least_loaded",
  "latency_based",
  "response_aware",
  "failover",
  "power_of_two",
  "consistent_hash",
  "prefix_aware"
])
export type StrategyName = typeof StrategyName.Type

/** A backend's place in a pool. Lower `priority` first; the next tier serves only when the one before has none left. */
export const PoolMember = Schema.Union([
  Name,
  Schema.Struct({
    name: Name,
    weight: Schema.optionalKey(between(1, 65_535)),
    priority: between(0, 1000).pipe(orElse(0))
  })
]).annotate({ message: "expected a backend's name, or { name, weight, priority }" })
export type PoolMember = typeof PoolMember.Type

/** Finds a user's name in a system message: in the first of its groups that took part. */
const NamePattern = Schema.NonEmptyString.pipe(
  Schema.check(
    Schema.makeFilter((source) => {
      const compiled = compileRegExp(source)
      if (Result.isFailure(compiled)) return compiled.failure
      return /(?<!\\)\((?!\?)|\(\?P?</.test(source)
        ? undefined
        : "expected a group, in parentheses, that holds the name"
    })
  )
)

/** "The user's name is …", as chat front ends write it in Japanese and in English. */
const userPatterns = [
  "ユーザーの名前は[「『“\"']([^」』”\"']+)[」』”\"']",
  "(?i)\\buser['’]?s name is:? (?:[“\"'«]([^”\"'»\\n]+)[”\"'»]|([\\pL\\pN_-]+))"
]

/**
 * What keeps a client on its backend: the `X-Session-Key` header, the user, or the address, the first that is there.
 * An entry lives for `ttl` after its last use; a backend that is busier than `maxImbalance` times the mean loses it.
 */
export const StickySettings = Schema.Struct({
  by: Schema.Array(Schema.Literals(["header", "user", "ip"])).pipe(orElse(["header", "user", "ip"])),
  userPatterns: Schema.Array(NamePattern).pipe(orElse(userPatterns)),
  ttl: Span.pipe(orElse("3m")),
  maxEntries: between(1, 10_000_000).pipe(orElse(100_000)),
  maxImbalance: decimal(1, 1000).pipe(orElse(1.25))
})
export type StickySettings = typeof StickySettings.Type

/** At most `maxConcurrent` requests at work, `maxQueue` waiting, none for longer than `queueTimeout`. */
export const AdmissionSettings = Schema.Struct({
  maxConcurrent: between(1, 1_000_000).pipe(orElse(16_384)),
  maxQueue: between(0, 1_000_000).pipe(orElse(1024)),
  queueTimeout: Span.pipe(orElse("30s"))
})
export type AdmissionSettings = typeof AdmissionSettings.Type

/**
 * `attempts` more tries after the first, each on another backend while there is one. The delay applies where the
 * same backend must be asked again; `budget` is the share of recent requests that may be retries.
 */
export const RetrySettings = Schema.Struct({
  attempts: between(0, 100).pipe(orElse(2)),
  initialDelay: Span.pipe(orElse("100ms")),
  maxDelay: Span.pipe(orElse("2s")),
  budget: decimal(0, 1).pipe(orElse(0.2))
})
export type RetrySettings = typeof RetrySettings.Type

/** A second attempt after the observed percentile of time to first byte, for at most `maxRatio` of the requests. */
export const HedgeSettings = Schema.Struct({
  after: Schema.Literals(["p50", "p75", "p90", "p95", "p99"]).pipe(orElse("p95")),
  maxRatio: decimal(0.001, 1).pipe(orElse(0.05))
})
export type HedgeSettings = typeof HedgeSettings.Type

/** An HTTP proxy; credentials, percent-encoded where need be, are a part of the address. */
const ProxyUrl = Schema.String.pipe(
  Schema.check(
    Schema.makeFilter((text) => {
      const url = URL.parse(text)
      if (url === null || !/^https?:$/.test(url.protocol) || url.pathname !== "/" || url.search + url.hash !== "") {
        return "expected the address of a proxy, such as http://user:password@proxy:8080"
      }
      return Option.isNone(decodeUri(url.username + url.password))
        ? "its credentials are not percent-encoded properly"
        : undefined
    })
  )
)

/** How connections from this pool to its backends are made: through `proxy`, where there is one. */
export const ClientSettings = Schema.Struct({
  userAgent: Schema.optionalKey(HeaderValue),
  keepAlive: Span.pipe(orElse("30s")),
  stream: flag.pipe(orElse(true)),
  proxy: Schema.optionalKey(Schema.RedactedFromValue(ProxyUrl)),
  timeouts: Timeouts.pipe(orElse({}))
})
export type ClientSettings = typeof ClientSettings.Type

/** How connections are made to a backend that is in no pool. */
export const defaultClient: ClientSettings = Schema.decodeSync(ClientSettings)({})

/** One pool as a configuration describes it. */
export const Pool = Schema.Struct({
  name: Name,
  backends: Schema.Array(PoolMember),
  strategy: StrategyName.pipe(orElse("least_inflight")),
  sticky: StickySettings.pipe(orElse({ by: ["header"] })),
  admission: AdmissionSettings.pipe(orElse({})),
  retry: RetrySettings.pipe(orElse({})),
  hedge: Schema.optionalKey(HedgeSettings),
  client: ClientSettings.pipe(orElse({}))
})
export type Pool = typeof Pool.Type

/** The settings of the pool that is meant where none is configured. */
export const implicitPool: Pool = Schema.decodeSync(Pool)({ name: "default", backends: [] })
