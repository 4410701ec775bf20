/** A listener: one address on which clients reach Weir; it can be a tenant of its own. */
import { Result, Schema } from "effect"
import { parseNetwork } from "./Addresses.ts"
import { doc, orElse } from "./Fields.ts"
import { Name } from "./Names.ts"
import { originProblem } from "./Origin.ts"
import { PassThrough, PathText } from "./PassThrough.ts"
import { between, flag } from "./Settings.ts"
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
  path: PathText.pipe(
    doc(
      "The path: as it stands, `:name` for one segment, `{name:regex}` for one segment of a form, `*` for one segment " +
        "or, at the end, for the rest. The most specific path wins.",
      { examples: ["/v1/embeddings", "/team/{id:[0-9]{3}}/*"] }
    )
  ),
  pool: Name.pipe(doc("The pool that serves it.", { examples: ["embeddings"] }))
})
export type PathRoute = typeof PathRoute.Type

/** An origin of a browser's pages as its `Origin` header has it; `*`: all of them, `app://*`: all of that scheme. */
const CorsOrigin = Schema.String.pipe(Schema.check(Schema.makeFilter((text) => originProblem(text))))

/** A token bucket for each client address. */
export const IpRateLimit = Schema.Struct({
  perSecond: between(1, 10_000).pipe(
    orElse(100),
    doc("Requests a second from one address, in the long run.", { examples: [10], unit: "requests a second" })
  ),
  burst: between(1, 20_000).pipe(
    orElse(200),
    doc("Requests from one address that may come at once.", { examples: [50], unit: "requests" })
  )
})
export type IpRateLimit = typeof IpRateLimit.Type

/** One listener as a configuration describes it. `auth` absent means: keys are asked for where there are any. */
export const Listener = Schema.Struct({
  name: Name.pipe(orElse("public"), doc("How logs and metrics call the listener.", { examples: ["research"] })),
  host: Schema.NonEmptyString.pipe(
    orElse("127.0.0.1"),
    doc("The address to listen on. Any but loopback needs keys, or `auth: false`.", { examples: ["0.0.0.0"] })
  ),
  port: between(0, 65_535).pipe(
    orElse(8000),
    doc("The port to listen on; 0: any free one.", { examples: [8001], unit: "port number" })
  ),
  pool: Schema.optionalKey(Name).pipe(
    doc("Where a request goes when no route and no model rule says otherwise.", {
      examples: ["big"],
      absent: "the only pool, where there is one only"
    })
  ),
  routes: Schema.Array(PathRoute).pipe(
    orElse([]),
    doc("Paths that have a pool of their own. A route decides before a model rule.", {
      examples: [[{ path: "/v1/embeddings", pool: "embeddings" }]]
    })
  ),
  rateLimit: Schema.optionalKey(IpRateLimit).pipe(
    doc("A limit for each client address; an IPv6 /64 counts as one.", {
      examples: [{ perSecond: 100, burst: 200 }],
      absent: "no limit"
    })
  ),
  connectTimeout: Span.pipe(
    orElse("10s"),
    doc("For the whole head of a request, and for each piece of its body; 0: no bound.", { examples: ["30s"] })
  ),
  maxConnections: between(1, 1_000_000).pipe(
    orElse(16_384),
    doc("Connections that may be open at once; one more is closed before anything is read.", {
      examples: [1000],
      unit: "connections"
    })
  ),
  auth: Schema.optionalKey(flag).pipe(
    doc("Whether clients must show a key.", { examples: [false], absent: "they must where keys are configured" })
  ),
  trustedProxies: Schema.Array(Network).pipe(
    orElse([]),
    doc("Networks and addresses of proxies whose `X-Forwarded-For` is believed.", {
      examples: [["10.0.0.0/8", "192.0.2.7"]]
    })
  ),
  passThrough: PassThrough.pipe(
    orElse("safe"),
    doc(
      "Which paths are passed to an engine besides the endpoints of inference. `safe`: all but what administers an " +
        "engine; `all`: those too; `none`: no other; a list of paths: as `safe`, and those in the list.",
      { examples: ["none", ["/slots/:id"]] }
    )
  ),
  tls: Schema.optionalKey(
    Schema.Struct({
      cert: Schema.NonEmptyString.pipe(
        doc("The file of the certificate and its chain, in PEM form.", { examples: ["./cert.pem"] })
      ),
      key: Schema.NonEmptyString.pipe(doc("The file of its private key, in PEM form.", { examples: ["./key.pem"] }))
    })
  ).pipe(
    doc("Serve HTTPS, over HTTP/1.1 and HTTP/2. Renewed files are noticed.", {
      examples: [{ cert: "./cert.pem", key: "./key.pem" }],
      absent: "plain HTTP"
    })
  ),
  cors: Schema.Struct({
    origins: Schema.Array(CorsOrigin).pipe(
      orElse([]),
      doc("Origins as browsers send them; `app://*`: all of a scheme; `null`; `*`: every origin.", {
        examples: [["https://app.example", "app://*"]]
      })
    )
  }).pipe(orElse({}), doc("Which pages in browsers may ask.", { examples: [{ origins: ["https://app.example"] }] }))
})
export type Listener = typeof Listener.Type

/** Where status, metrics and administration are served; without a port of its own, on the first listener. */
export const Admin = Schema.Struct({
  host: Schema.NonEmptyString.pipe(
    orElse("127.0.0.1"),
    doc("The address to listen on, where there is a port. Any but loopback needs a token.", { examples: ["0.0.0.0"] })
  ),
  port: Schema.optionalKey(between(0, 65_535)).pipe(
    doc("A port for administration alone; 0: any free one.", {
      examples: [9000],
      unit: "port number",
      absent: "on the first listener"
    })
  ),
  token: Schema.optionalKey(Schema.RedactedFromValue(Schema.String)).pipe(
    doc("The bearer token of administrators. Empty text means none.", {
      examples: ["${WEIR_ADMIN_TOKEN}"],
      absent: "the key in WEIR_API_KEY, else none: then any address but loopback is refused",
      secret: true
    })
  ),
  publicMetrics: flag.pipe(orElse(true), doc("Whether `/metrics` needs no token.", { examples: [false] }))
})
export type Admin = typeof Admin.Type
