/** A listener: one address on which clients reach Weir; it can be a tenant of its own. */
import { Result, Schema } from "effect"
import { parseNetwork } from "./Addresses.ts"
import { Name } from "./Names.ts"
import { originProblem } from "./Origin.ts"
import { PassThrough, PathText } from "./PassThrough.ts"
import { between, flag, orElse } from "./Settings.ts"
import { Span } from "./Units.ts"

/** A network in CIDR form, or one address. */
export const Network = Schema.String.pipe(
  Schema.check(
    Schema.makeFilter((text) =>
      isNetwork(text) ? undefined : "expected a network such as 10.0.0.0/8 or an IP address"
    )
  )
)

const isNetwork = (text: string): boolean => Result.isSuccess(parseNetwork(text))

/** Requests whose path matches go to `pool`; the patterns and their order are the path router's. */
export const PathRoute = Schema.Struct({
  path: PathText,
  pool: Name
})
export type PathRoute = typeof PathRoute.Type

/** An origin of a browser's pages as its `Origin` header has it; `*`: all of them, `app://*`: all of that scheme. */
const CorsOrigin = Schema.String.pipe(Schema.check(Schema.makeFilter((text) => originProblem(text))))

/** A token bucket for each client address. */
export const IpRateLimit = Schema.Struct({
  perSecond: between(1, 10_000).pipe(orElse(100)),
  burst: between(1, 20_000).pipe(orElse(200))
})
export type IpRateLimit = typeof IpRateLimit.Type

/** One listener as a configuration describes it. `auth` absent means: keys are asked for where there are any. */
export const Listener = Schema.Struct({
  name: Name.pipe(orElse("public")),
  host: Schema.NonEmptyString.pipe(orElse("127.0.0.1")),
  port: between(0, 65_535).pipe(orElse(8000)),
  pool: Schema.optionalKey(Name),
  routes: Schema.Array(PathRoute).pipe(orElse([])),
  rateLimit: Schema.optionalKey(IpRateLimit),
  /** For the whole head of a request, and for each piece of its body; 0: no bound. */
  connectTimeout: Span.pipe(orElse("10s")),
  /** Open at once, whatever they do; what comes beyond that is closed before anything is read. */
  maxConnections: between(1, 1_000_000).pipe(orElse(16_384)),
  auth: Schema.optionalKey(flag),
  trustedProxies: Schema.Array(Network).pipe(orElse([])),
  passThrough: PassThrough.pipe(orElse("safe")),
  tls: Schema.optionalKey(Schema.Struct({ cert: Schema.NonEmptyString, key: Schema.NonEmptyString })),
  cors: Schema.Struct({ origins: Schema.Array(CorsOrigin).pipe(orElse([])) }).pipe(orElse({}))
})
export type Listener = typeof Listener.Type

/** Where status, metrics and administration are served; without a port of its own, on the first listener. */
export const Admin = Schema.Struct({
  host: Schema.NonEmptyString.pipe(orElse("127.0.0.1")),
  port: Schema.optionalKey(between(0, 65_535)),
  token: Schema.optionalKey(Schema.RedactedFromValue(Schema.String)),
  publicMetrics: flag.pipe(orElse(true))
})
export type Admin = typeof Admin.Type
