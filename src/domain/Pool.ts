/** A pool: backends that can stand in for each other, and how work is shared among them. */
import { Option, Result, Schema } from "effect"
import { doc, orElse } from "./Fields.ts"
import { compileRegExp } from "./LinearRegExp.ts"
import { HeaderValue, Name } from "./Names.ts"
import { between, decimal, flag, Timeouts } from "./Settings.ts"
import { Span, spanFrom } from "./Units.ts"

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
    name: Name.pipe(doc("The backend.", { examples: ["gpu-1"] })),
    weight: Schema.optionalKey(between(1, 65_535)).pipe(
      doc("Its share of the work in this pool.", { examples: [4], unit: "share", absent: "the backend's own weight" })
    ),
    priority: between(0, 1000).pipe(
      orElse(0),
      doc("Its tier: the next one is asked only when the one before has no backend left that can take the request.", {
        examples: [1],
        unit: "rank, lower first"
      })
    )
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

const StickyBy = Schema.Array(Schema.Literals(["header", "user", "ip"]))

const stickyBy = (absent: typeof StickyBy.Encoded) =>
  StickyBy.pipe(
    orElse(absent),
    doc(
      "What makes requests a session, the first that is there: the `X-Session-Key` header, the user (the body's `user`, " +
        "or a name in the system message), the client's address. An empty list: nothing.",
      { examples: [["header", "user"]] }
    )
  )

/**
 * What keeps a client on its backend: the `X-Session-Key` header, the user, or the address, the first that is there.
 * An entry lives for `ttl` after its last use; a backend that is busier than `maxImbalance` times the mean loses it.
 */
export const StickySettings = Schema.Struct({
  by: stickyBy(["header", "user", "ip"]),
  userPatterns: Schema.Array(NamePattern).pipe(
    orElse(userPatterns),
    doc(
      "Regular expressions that find a user's name in a system message, each in the first of its groups that took part.",
      {
        examples: [["Name: (\\w+)"]]
      }
    )
  ),
  ttl: spanFrom(1, "with 0 no session is ever found again; to have none, write `by: []`").pipe(
    orElse("3m"),
    doc("How long a session is kept after its last request; more than 0.", { examples: ["10m"] })
  ),
  maxEntries: between(1, 10_000_000).pipe(
    orElse(100_000),
    doc("Sessions that are kept at most; the one that was used the longest ago goes first.", {
      examples: [10_000],
      unit: "sessions"
    })
  ),
  maxImbalance: decimal(1, 1000).pipe(
    orElse(1.25),
    doc("With more than this many times its fair share of the requests in flight, a backend loses a session.", {
      examples: [2],
      unit: "times the fair share"
    })
  )
})
export type StickySettings = typeof StickySettings.Type

/**
 * The same for a pool: by the header alone, whether it says nothing of sessions or something else than by what. Clients
 * behind one address would share a backend, so that the address has to be asked for.
 */
const PoolSticky = Schema.Struct({ ...StickySettings.fields, by: stickyBy(["header"]) })

/** At most `maxConcurrent` requests at work, `maxQueue` waiting, none for longer than `queueTimeout`. */
export const AdmissionSettings = Schema.Struct({
  maxConcurrent: between(1, 1_000_000).pipe(
    orElse(16_384),
    doc("Requests at work at once.", { examples: [256], unit: "requests" })
  ),
  maxQueue: between(0, 1_000_000).pipe(
    orElse(1024),
    doc("Requests that may wait; one more gets 503 `queue_full`.", { examples: [64], unit: "requests" })
  ),
  queueTimeout: Span.pipe(
    orElse("30s"),
    doc("For all waits of one request together; then it gets 503 `queue_timeout`.", { examples: ["5s"] })
  )
})
export type AdmissionSettings = typeof AdmissionSettings.Type

/**
 * `attempts` more tries after the first, each on another backend while there is one. The delay applies where the
 * same backend must be asked again; `budget` is the share of recent requests that may be retries.
 */
export const RetrySettings = Schema.Struct({
  attempts: between(0, 100).pipe(
    orElse(2),
    doc("Further tries after the first, each at another backend while there is one.", { examples: [3], unit: "tries" })
  ),
  initialDelay: Span.pipe(
    orElse("100ms"),
    doc("The first wait where the same backend must be asked again; each further one is longer.", {
      examples: ["50ms"]
    })
  ),
  maxDelay: Span.pipe(orElse("2s"), doc("The longest of these waits.", { examples: ["1s"] })),
  budget: decimal(0, 1).pipe(
    orElse(0.2),
    doc("The share of recent requests that may be retries.", { examples: [0.1], unit: "share of requests" })
  )
})
export type RetrySettings = typeof RetrySettings.Type

/** A second attempt after the observed percentile of time to first byte, for at most `maxRatio` of the requests. */
export const HedgeSettings = Schema.Struct({
  after: Schema.Literals(["p50", "p75", "p90", "p95", "p99"]).pipe(
    orElse("p95"),
    doc("The percentile of the time to the first output after which the second attempt begins.", { examples: ["p99"] })
  ),
  maxRatio: decimal(0.001, 1).pipe(
    orElse(0.05),
    doc("The share of requests that may have a second attempt.", { examples: [0.1], unit: "share of requests" })
  )
})
export type HedgeSettings = typeof HedgeSettings.Type

/** An HTTP proxy; credentials, percent-encoded where need be, are a part of the address. */
const ProxyUrl = Schema.String.pipe(
  Schema.check(
    Schema.makeFilter(
      (text) => {
        const url = URL.parse(text)
        if (url === null || !/^https?:$/.test(url.protocol) || url.pathname !== "/" || url.search + url.hash !== "") {
          return "expected the address of a proxy, such as http://user:password@proxy:8080"
        }
        return Option.isNone(decodeUri(url.username + url.password))
          ? "its credentials are not percent-encoded properly"
          : undefined
      },
      { toJsonSchema: () => [{ pattern: "^\\s*[Hh][Tt][Tt][Pp][Ss]?:" }, true] }
    )
  )
)

/** How connections from this pool to its backends are made: through `proxy`, where there is one. */
export const ClientSettings = Schema.Struct({
  userAgent: Schema.optionalKey(HeaderValue).pipe(
    doc("The `User-Agent` that backends see.", { examples: ["Weir/1"], absent: "the client's own" })
  ),
  keepAlive: Span.pipe(
    orElse("30s"),
    doc("How long an idle connection to a backend is kept open.", { examples: ["1m"] })
  ),
  stream: flag.pipe(
    orElse(true),
    doc("Whether a stream may last longer than `timeouts.request`.", { examples: [false] })
  ),
  proxy: Schema.optionalKey(Schema.RedactedFromValue(ProxyUrl)).pipe(
    doc("The HTTP proxy through which backends are reached, with its credentials, percent-encoded where need be.", {
      examples: ["http://user:${PROXY_PASSWORD}@proxy:8080"],
      absent: "they are reached directly",
      secret: true
    })
  ),
  timeouts: Timeouts.pipe(
    orElse({}),
    doc("Bounds on one attempt, for backends that have none of their own.", { examples: [{ idle: "5m" }] })
  )
})
export type ClientSettings = typeof ClientSettings.Type

/** How connections are made to a backend that is in no pool. */
export const defaultClient: ClientSettings = Schema.decodeSync(ClientSettings)({})

/** One pool as a configuration describes it. */
export const Pool = Schema.Struct({
  name: Name.pipe(doc("How routes, rules, logs and metrics call the pool.", { examples: ["default"] })),
  backends: Schema.Array(PoolMember).pipe(
    doc("Its backends, by name.", { examples: [["gpu-1", { name: "cloud", weight: 2, priority: 1 }]] })
  ),
  strategy: StrategyName.pipe(
    orElse("least_inflight"),
    doc("How the next backend is chosen; the README compares them.", { examples: ["prefix_aware"] })
  ),
  sticky: PoolSticky.pipe(
    orElse({}),
    doc("What keeps a session on its backend.", { examples: [{ by: ["header", "user", "ip"], ttl: "3m" }] })
  ),
  admission: AdmissionSettings.pipe(
    orElse({}),
    doc("How many requests the pool takes, and how many wait.", { examples: [{ maxConcurrent: 256 }] })
  ),
  retry: RetrySettings.pipe(
    orElse({}),
    doc("When a failed request is tried again.", { examples: [{ attempts: 3, budget: 0.1 }] })
  ),
  hedge: Schema.optionalKey(HedgeSettings).pipe(
    doc("A second attempt beside a slow one, before its first output. The one that answers first is kept.", {
      examples: [{ after: "p95", maxRatio: 0.05 }],
      absent: "none"
    })
  ),
  client: ClientSettings.pipe(
    orElse({}),
    doc("How connections from this pool to its backends are made.", { examples: [{ keepAlive: "1m" }] })
  )
})
export type Pool = typeof Pool.Type

/** The settings of the pool that is meant where none is configured. */
export const implicitPool: Pool = Schema.decodeSync(Pool)({ name: "default", backends: [] })
