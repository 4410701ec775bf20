/** From a client's request to what goes on the wire to one backend: path, headers, credentials. */
import { Redacted } from "effect"
import type { Backend, BackendAuth, HeaderOperation } from "../domain/Backend.ts"
import { isAtHand, type UpstreamBody } from "../transport/UpstreamTransport.ts"
import type { Adapter } from "./Adapter.ts"
import { sign, signingDate } from "./ApigSigner.ts"

/** A request after the client's hop-by-hop headers and credentials were taken off. */
export interface Outgoing {
  readonly method: string
  /** As the client sent it, without the query. */
  readonly path: string
  /** With its question mark, or empty. */
  readonly query: string
  /** Names and values in turn. */
  readonly headers: ReadonlyArray<string>
  readonly body: UpstreamBody
  /** Whether the answer must come without a content coding; it is decoded if the backend compresses all the same. */
  readonly readable: boolean
  /** The protocol that the connection is to be switched to. */
  readonly upgrade?: "websocket" | undefined
}

/** What of a backend's configuration is the same for every request. */
export interface PreparedRequest {
  readonly adapter: Adapter
  /** Where paths below `/v1` go. */
  readonly apiPath: string
  /** Where all others go. */
  readonly rootPath: string
  /** What the backend's address adds to every query. */
  readonly query: ReadonlyArray<readonly [name: string, pair: string]>
  readonly host: string
  readonly credential: readonly [name: string, value: string] | undefined
}

export const prepare = (backend: Backend, adapter: Adapter): PreparedRequest => {
  const url = new URL(backend.url)
  const path = url.pathname.replace(/\/+$/, "")
  const prefix = backend.pathPrefix?.replace(/\/+$/, "")
  return {
    adapter,
    apiPath: prefix === undefined ? adapter.apiPath(path) : path + prefix,
    rootPath: adapter.rootPath(path),
    query: [...url.searchParams].map(([name, value]) => [name, new URLSearchParams([[name, value]]).toString()]),
    host: url.host,
    credential: credentialOf(backend.auth, adapter.keyHeader)
  }
}

/** The backend's path and query for those of a client: `/v1` is replaced by the address's path and the prefix. */
export const target = (prepared: PreparedRequest, path: string, query: string): string => {
  const at = targetPath(prepared, path)
  return prepared.query.length === 0 ? at + query : at + withOwn(prepared.query, query)
}

const targetPath = ({ apiPath, rootPath }: PreparedRequest, path: string): string => {
  if (path.startsWith("/v1/")) return apiPath + path.slice(3)
  return path === "/v1" ? apiPath || "/" : rootPath + path
}

/**
 * The other way: where a client finds here what is at such a path of the backend. Of two such paths, the one that is
 * like the client's own. What no client can reach keeps its path.
 */
export const clientPath = ({ apiPath, rootPath }: PreparedRequest, path: string, asked: string): string => {
  const [belowApi, belowRoot] = [below(apiPath, path), below(rootPath, path)]
  const api = belowApi === undefined ? undefined : `/v1${belowApi}`
  // What is asked for here as `/` is the root with a slash there.
  const root = belowRoot === undefined || belowRoot === "" || isApiPath(belowRoot) ? undefined : belowRoot
  return (isApiPath(asked) ? (api ?? root) : (root ?? api)) ?? (belowRoot === "" ? "/" : path)
}

const isApiPath = (path: string): boolean => path === "/v1" || path.startsWith("/v1/")

/** What is left of a path below another one, with its slash; `undefined`: it is not below. */
const below = (base: string, path: string): string | undefined => {
  if (path === base) return ""
  return path.startsWith(`${base}/`) ? path.slice(base.length) : undefined
}

/** What the client has said already stays as it is. */
const withOwn = (own: PreparedRequest["query"], query: string): string => {
  const said = new URLSearchParams(query)
  const missing = own.flatMap(([name, pair]) => (said.has(name) ? [] : [pair]))
  if (missing.length === 0) return query
  return `${query === "" ? "?" : query.replace(/&?$/, "&")}${missing.join("&")}`
}

const credentialOf = (auth: BackendAuth, keyHeader: string | undefined): PreparedRequest["credential"] => {
  switch (auth.type) {
    case "bearer": {
      const token = Redacted.value(auth.token)
      return keyHeader === undefined ? ["authorization", `Bearer ${token}`] : [keyHeader, token]
    }
    case "basic":
      return ["authorization", `Basic ${basicCredentials(auth)}`]
    case "header":
      return [auth.name.toLowerCase(), Redacted.value(auth.value)]
    case "apig":
    case "none":
      return undefined
  }
}

const basicCredentials = (auth: Extract<BackendAuth, { type: "basic" }>): string => {
  if (auth.credentials !== undefined) return Redacted.value(auth.credentials)
  const password = auth.password === undefined ? "" : Redacted.value(auth.password)
  return Buffer.from(`${auth.username ?? ""}:${password}`, "utf8").toString("base64")
}

/** The headers that go out: operations in their order, then the credential, which nothing of the client's survives. */
export const outgoingHeaders = (
  backend: Backend,
  prepared: PreparedRequest,
  outgoing: Outgoing,
  path: string,
  epochMillis: number,
  bodyHash?: string
): ReadonlyArray<string> => {
  const { auth, headers: operations } = backend
  const { adapter, credential } = prepared
  const signed = auth.type === "apig"
  const behindApig = signed || backend.adapter === "huawei-apig"
  const asItIs = operations.length === 0 && credential === undefined && adapter.headers.length === 0
  if (asItIs && !behindApig) return outgoing.headers
  const headers = behindApig ? withoutApigHeaders(outgoing.headers) : [...outgoing.headers]
  for (const [name, value] of adapter.headers) insert(headers, name, value)
  for (const operation of operations) apply(headers, operation)
  if (credential !== undefined) replace(headers, ...credential)
  if (signed) addSignature(headers, auth, prepared, outgoing, path, epochMillis, bodyHash)
  return headers
}

/** Names by which the configuration has the backend called in requests, without their ports. */
export const ownHostHeaders = ({ headers }: Backend): ReadonlyArray<string> =>
  headers.flatMap((operation) =>
    operation.op !== "remove" && operation.name.toLowerCase() === "host"
      ? [Redacted.value(operation.value).replace(/:\d+$/, "")]
      : []
  )

const apply = (headers: Array<string>, operation: HeaderOperation): void => {
  switch (operation.op) {
    case "insert":
      return insert(headers, operation.name, Redacted.value(operation.value))
    case "replace":
      return replace(headers, operation.name, Redacted.value(operation.value))
    case "remove":
      return remove(headers, operation.name)
  }
}

/**
 * What decides at Huawei's gateway which stage, project and account a request is for, and who it is from. The
 * configuration says that: from a client it would reach another stage of the API, with our signature under it.
 */
const apigHeader = /^(x-(stage|project-id|domain-id|security-token|auth-token|subject-token)$|x-(apig|sdk)-)/i

const withoutApigHeaders = (headers: ReadonlyArray<string>): Array<string> => {
  const kept: Array<string> = []
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] ?? ""
    if (!apigHeader.test(name)) kept.push(name, headers[i + 1] ?? "")
  }
  return kept
}

/** What Huawei's gateway looks at beyond its own headers, where the request has it. */
const alsoSigned = ["content-type", "x-stage", "x-project-id", "x-security-token"]

const addSignature = (
  headers: Array<string>,
  auth: Extract<BackendAuth, { type: "apig" }>,
  { host }: PreparedRequest,
  { body, method }: Outgoing,
  path: string,
  epochMillis: number,
  bodyHash: string | undefined
): void => {
  for (const name of ["authorization", "x-sdk-date", "x-sdk-content-sha256"]) remove(headers, name)
  const date = signingDate(epochMillis)
  // What goes on the wire: a header operation may have named another host.
  const signed: Array<readonly [string, string]> = [["host", valueOf(headers, "host") ?? host]]
  for (const name of alsoSigned) {
    const value = valueOf(headers, name)
    if (value !== undefined) signed.push([name, value])
  }
  const atHand = isAtHand(body)
  if (!atHand) {
    headers.push("x-sdk-content-sha256", "UNSIGNED-PAYLOAD")
    signed.push(["x-sdk-content-sha256", "UNSIGNED-PAYLOAD"])
  }
  const request = { method, path, headers: signed, body: atHand ? body : undefined, bodyHash, date }
  const authorization = sign(request, Redacted.value(auth.accessKey), Redacted.value(auth.secretKey))
  headers.push("x-sdk-date", date, "authorization", authorization)
}

const valueOf = (headers: ReadonlyArray<string>, name: string): string | undefined => {
  const wanted = name.toLowerCase()
  for (let i = 0; i < headers.length; i += 2) if (headers[i]?.toLowerCase() === wanted) return headers[i + 1]
  return undefined
}

const remove = (headers: Array<string>, name: string): void => {
  const wanted = name.toLowerCase()
  for (let i = headers.length - 2; i >= 0; i -= 2) if (headers[i]?.toLowerCase() === wanted) headers.splice(i, 2)
}

const insert = (headers: Array<string>, name: string, value: string): void => {
  if (valueOf(headers, name) === undefined) headers.push(name, value)
}

const replace = (headers: Array<string>, name: string, value: string): void => {
  remove(headers, name)
  headers.push(name, value)
}
