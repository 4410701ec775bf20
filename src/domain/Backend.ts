/** A backend: one engine, or one cloud endpoint, that answers requests. */
import { Schema } from "effect"
import { doc, orElse } from "./Fields.ts"
import { HeaderName, HeaderValue, Name } from "./Names.ts"
import { BackendTimeouts, BreakerSettings, between, flag, HealthOverrides } from "./Settings.ts"
import { Span } from "./Units.ts"

/** The kinds of engine that Weir knows how to talk to; each is one file in `backend/adapters`. */
export const AdapterKind = Schema.Literals([
  "openai",
  "vllm",
  "sglang",
  "llama-cpp",
  "ollama",
  "llama-balancer",
  "huawei-apig",
  "azure-openai",
  "anthropic"
])
export type AdapterKind = typeof AdapterKind.Type

const Secret = Schema.RedactedFromValue(Schema.NonEmptyString)
const SecretHeaderValue = Schema.RedactedFromValue(HeaderValue)

const BasicAuth = Schema.Struct({
  type: Schema.tag("basic").pipe(doc("HTTP Basic: a user's name and a password, or both as base64.")),
  username: Schema.optionalKey(Schema.NonEmptyString).pipe(
    doc("The user's name, together with password.", { examples: ["weir"], absent: "credentials must be there" })
  ),
  password: Schema.optionalKey(Secret).pipe(
    doc("The password.", { examples: ["${GPU1_PASSWORD}"], absent: "credentials must be there", secret: true })
  ),
  credentials: Schema.optionalKey(SecretHeaderValue).pipe(
    doc("The base64 of `username:password`.", {
      examples: ["${GPU1_CREDENTIALS}"],
      absent: "username and password must be there",
      secret: true
    })
  )
}).pipe(
  Schema.check(
    Schema.makeFilter(({ credentials, password, username }) => {
      const both = username !== undefined && password !== undefined
      const neither = username === undefined && password === undefined
      return (credentials === undefined ? both : neither)
        ? undefined
        : "needs either username and password, or credentials (base64 of username:password)"
    })
  )
)

/** How Weir proves itself to a backend. The client's own credentials are never used for this. */
export const BackendAuth = Schema.Union([
  Schema.Struct({ type: Schema.tag("none").pipe(doc("No credentials.")) }),
  Schema.Struct({
    type: Schema.tag("bearer").pipe(doc("A token, in the header in which the adapter's engine takes it.")),
    token: SecretHeaderValue.pipe(doc("The token.", { examples: ["${OPENAI_API_KEY}"], secret: true }))
  }),
  BasicAuth,
  Schema.Struct({
    type: Schema.tag("header").pipe(doc("A header of your own.")),
    name: HeaderName.pipe(doc("The header's name.", { examples: ["X-Apig-AppCode"] })),
    value: SecretHeaderValue.pipe(doc("The header's value.", { examples: ["${APP_CODE}"], secret: true }))
  }),
  Schema.Struct({
    type: Schema.tag("apig").pipe(doc("Every request is signed for Huawei Cloud API Gateway.")),
    accessKey: SecretHeaderValue.pipe(doc("The access key (AK).", { examples: ["${HW_AK}"], secret: true })),
    secretKey: Secret.pipe(doc("The secret key (SK).", { examples: ["${HW_SK}"], secret: true }))
  })
]).annotate({ message: "expected an auth with a type: none, bearer, basic, header or apig" })
export type BackendAuth = typeof BackendAuth.Type

const headerName = HeaderName.pipe(doc("The header's name.", { examples: ["X-Team"] }))
const headerValue = SecretHeaderValue.pipe(doc("The header's value.", { examples: ["platform"], secret: true }))

/** `insert` sets a header where the request has none, `replace` sets it in any case, `remove` drops it. */
export const HeaderOperation = Schema.Union([
  Schema.Struct({
    op: Schema.tag("insert").pipe(doc("Set the header where the request has none.")),
    name: headerName,
    value: headerValue
  }),
  Schema.Struct({
    op: Schema.tag("replace").pipe(doc("Set the header in any case.")),
    name: headerName,
    value: headerValue
  }),
  Schema.Struct({ op: Schema.tag("remove").pipe(doc("Drop the header.")), name: headerName })
]).annotate({ message: "expected a header operation with an op: insert, replace or remove" })
export type HeaderOperation = typeof HeaderOperation.Type

/** An `http` or `https` address without credentials or fragment; a query is for {@link addressIssue} to judge. */
export const BackendUrl = Schema.String.pipe(
  Schema.check(
    Schema.makeFilter(
      (text) => {
        const url = URL.parse(text)
        if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) {
          return "expected an address such as http://10.0.0.1:8001"
        }
        if (url.username !== "" || url.password !== "") return "credentials belong into auth, not into the address"
        return url.hash === "" ? undefined : "an address has no fragment"
      },
      { toJsonSchema: () => [{ pattern: "^\\s*[Hh][Tt][Tt][Pp][Ss]?:" }, true] }
    )
  )
)

/** The name of the deployment in the path of one's address at Azure. */
export const azureDeployment = /\/openai\/deployments\/([^/]+)\/*$/

/** Only Azure has a query in its addresses: the version that one deployment's API needs, and the other form need not. */
const addressIssue = (adapter: AdapterKind, address: string): string | undefined => {
  const url = new URL(address)
  const names = [...url.searchParams.keys()]
  if (adapter !== "azure-openai") return url.search === "" ? undefined : "an address has no query"
  if (names.some((name) => name !== "api-version") || names.length > 1) {
    return "the only query that an address at Azure may have is ?api-version=…"
  }
  const version = url.searchParams.get("api-version")
  if (azureDeployment.test(url.pathname)) {
    return version === null ? "the address of a deployment needs its version: ?api-version=2024-10-21" : undefined
  }
  return version !== null && /^\d/.test(version)
    ? "a dated version needs the deployment in the address (…/openai/deployments/NAME?api-version=…); without one, " +
        "leave the version out"
    : undefined
}

/** Files in PEM form. `ca` is trusted instead of what the machine trusts; `cert` and `key` are shown where asked for. */
export const BackendTls = Schema.Struct({
  ca: Schema.optionalKey(Schema.NonEmptyString).pipe(
    doc("The file of a CA that is trusted instead of the system's, in PEM form.", {
      examples: ["./ca.pem"],
      absent: "the system's CAs are trusted"
    })
  ),
  cert: Schema.optionalKey(Schema.NonEmptyString).pipe(
    doc("The file of a client certificate, in PEM form, together with key.", {
      examples: ["./weir.pem"],
      absent: "none"
    })
  ),
  key: Schema.optionalKey(Schema.NonEmptyString).pipe(
    doc("The file of its private key, in PEM form.", { examples: ["./weir.key"], absent: "none" })
  ),
  serverName: Schema.optionalKey(
    Schema.String.pipe(
      Schema.check(
        Schema.isPattern(/^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*$/u, {
          message: "expected the name that is in the backend's certificate"
        })
      )
    )
  ).pipe(
    doc("The name that is in the backend's certificate.", {
      examples: ["engine.internal"],
      absent: "the one in the address"
    })
  )
}).pipe(
  Schema.check(
    Schema.makeFilter(({ cert, key }) =>
      (cert === undefined) === (key === undefined) ? undefined : "needs cert and key, or neither"
    )
  )
)
export type BackendTls = typeof BackendTls.Type

/** One backend as a configuration describes it. */
export const Backend = Schema.Struct({
  name: Name.pipe(doc("The backend's name; unique. Clients see it in `x-routed-node`.", { examples: ["gpu-1"] })),
  adapter: AdapterKind.pipe(
    orElse("openai"),
    doc("The kind of engine: how it is asked for health and load, and where its token goes.", { examples: ["vllm"] })
  ),
  url: BackendUrl.pipe(
    doc("The engine's address, without credentials. Only azure-openai may have a query: `?api-version=…`.", {
      examples: ["http://10.0.0.1:8001"]
    })
  ),
  pathPrefix: Schema.optionalKey(
    Schema.String.pipe(
      Schema.check(Schema.isPattern(/^(\/[^\s?#]*)?$/u, { message: "expected a path that begins with /, or nothing" }))
    )
  ).pipe(
    doc("What stands between the address's path and the request's, in the place of a request's leading `/v1`.", {
      examples: ["/api/v1"],
      absent: "`/v1` where the address has no path, else nothing"
    })
  ),
  auth: BackendAuth.pipe(
    orElse({ type: "none" }),
    doc("How Weir proves itself to the backend. A client's own key is never used for this.", {
      examples: [{ type: "bearer", token: "${OPENAI_API_KEY}" }]
    })
  ),
  headers: Schema.Array(HeaderOperation).pipe(
    orElse([]),
    doc("Changes to a request's headers, in this order.", {
      examples: [[{ op: "insert", name: "X-Team", value: "platform" }]]
    })
  ),
  tls: Schema.optionalKey(BackendTls).pipe(
    doc("For an https address. The certificate is always verified; changed files are noticed.", {
      examples: [{ ca: "./ca.pem" }],
      absent: "the system's CAs, no client certificate"
    })
  ),
  weight: between(1, 65_535).pipe(
    orElse(1),
    doc("Its share of the work, against that of the others.", { examples: [2], unit: "share" })
  ),
  maxConcurrency: Schema.optionalKey(between(1, 1_000_000)).pipe(
    doc("Requests in flight at once; exact.", { examples: [16], unit: "requests", absent: "no limit" })
  ),
  models: Schema.optionalKey(Schema.Array(Schema.NonEmptyString)).pipe(
    doc("The models that it serves.", { examples: [["m1", "m1-2"]], absent: "those that it lists itself" })
  ),
  timeouts: BackendTimeouts.pipe(orElse({}), doc("Bounds on one attempt.", { examples: [{ firstByte: "30s" }] })),
  breaker: BreakerSettings.pipe(
    orElse({}),
    doc("When its circuit opens. Then only trials go to it.", { examples: [{ consecutive: 3 }] })
  ),
  health: HealthOverrides.pipe(
    orElse({}),
    doc("How it is probed, where that differs from the top level's health.", { examples: [{ port: 18_000 }] })
  ),
  maxConnectionAge: Span.pipe(
    orElse("5m"),
    doc("An older connection is not used again, so that a name that means another address now is followed.", {
      examples: ["1h"]
    })
  ),
  enabled: flag.pipe(orElse(true), doc("Whether it gets requests and is probed.", { examples: [false] }))
}).pipe(
  Schema.check(
    Schema.makeFilter(({ adapter, auth, tls, url }) => {
      if (adapter === "huawei-apig" && auth.type !== "apig" && auth.type !== "header") {
        return {
          path: ["auth"],
          issue:
            "huawei-apig needs { type: apig, accessKey, secretKey }, or { type: header, name: X-Apig-AppCode, value }"
        }
      }
      const issue = addressIssue(adapter, url)
      if (issue !== undefined) return { path: ["url"], issue }
      return tls !== undefined && !/^https:/i.test(url)
        ? { path: ["tls"], issue: "has no effect: the address does not begin with https" }
        : undefined
    })
  )
)
export type Backend = typeof Backend.Type
