/** A backend: one engine, or one cloud endpoint, that answers requests. */
import { Schema } from "effect"
import { HeaderName, HeaderValue, Name } from "./Names.ts"
import { BreakerSettings, between, flag, HealthOverrides, orElse, Timeouts } from "./Settings.ts"
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
  type: Schema.tag("basic"),
  username: Schema.optionalKey(Schema.NonEmptyString),
  password: Schema.optionalKey(Secret),
  credentials: Schema.optionalKey(SecretHeaderValue)
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
  Schema.Struct({ type: Schema.tag("none") }),
  Schema.Struct({ type: Schema.tag("bearer"), token: SecretHeaderValue }),
  BasicAuth,
  Schema.Struct({ type: Schema.tag("header"), name: HeaderName, value: SecretHeaderValue }),
  Schema.Struct({ type: Schema.tag("apig"), accessKey: SecretHeaderValue, secretKey: Secret })
]).annotate({ message: "expected an auth with a type: none, bearer, basic, header or apig" })
export type BackendAuth = typeof BackendAuth.Type

/** `insert` sets a header where the request has none, `replace` sets it in any case, `remove` drops it. */
export const HeaderOperation = Schema.Union([
  Schema.Struct({ op: Schema.tag("insert"), name: HeaderName, value: SecretHeaderValue }),
  Schema.Struct({ op: Schema.tag("replace"), name: HeaderName, value: SecretHeaderValue }),
  Schema.Struct({ op: Schema.tag("remove"), name: HeaderName })
]).annotate({ message: "expected a header operation with an op: insert, replace or remove" })
export type HeaderOperation = typeof HeaderOperation.Type

/** An `http` or `https` address without credentials or fragment; a query is for {@link addressIssue} to judge. */
export const BackendUrl = Schema.String.pipe(
  Schema.check(
    Schema.makeFilter((text) => {
      const url = URL.parse(text)
      if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) {
        return "expected an address such as http://10.0.0.1:8001"
      }
      if (url.username !== "" || url.password !== "") return "credentials belong into auth, not into the address"
      return url.hash === "" ? undefined : "an address has no fragment"
    })
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
  ca: Schema.optionalKey(Schema.NonEmptyString),
  cert: Schema.optionalKey(Schema.NonEmptyString),
  key: Schema.optionalKey(Schema.NonEmptyString),
  serverName: Schema.optionalKey(
    Schema.String.pipe(
      Schema.check(
        Schema.isPattern(/^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$/i, {
          message: "expected the name that is in the backend's certificate"
        })
      )
    )
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
  name: Name,
  adapter: AdapterKind.pipe(orElse("openai")),
  url: BackendUrl,
  pathPrefix: Schema.optionalKey(
    Schema.String.pipe(
      Schema.check(Schema.isPattern(/^(\/[^\s?#]*)?$/, { message: "expected a path that begins with /, or nothing" }))
    )
  ),
  auth: BackendAuth.pipe(orElse({ type: "none" })),
  headers: Schema.Array(HeaderOperation).pipe(orElse([])),
  tls: Schema.optionalKey(BackendTls),
  weight: between(1, 65_535).pipe(orElse(1)),
  maxConcurrency: Schema.optionalKey(between(1, 1_000_000)),
  models: Schema.optionalKey(Schema.Array(Schema.NonEmptyString)),
  timeouts: Timeouts.pipe(orElse({})),
  breaker: BreakerSettings.pipe(orElse({})),
  health: HealthOverrides.pipe(orElse({})),
  /** A connection that is older is not used again, so that a name that means another address now is followed. */
  maxConnectionAge: Span.pipe(orElse("5m")),
  enabled: flag.pipe(orElse(true))
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
