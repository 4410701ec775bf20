/**
 * What environment variables and command-line options say, laid over the data of the file before anything is decoded:
 * so both go through the same validation, and a problem is reported under the name of the variable that caused it.
 */
import { Result, Schema } from "effect"
import type { Issue } from "../domain/Issue.ts"
import { Name } from "../domain/Names.ts"
import type { Environment } from "./Interpolation.ts"

/** Options of the command line that a configuration also has; they win over the environment. */
export interface Overrides {
  readonly host?: string
  readonly port?: number
  readonly logLevel?: string
  readonly workers?: number
}

export interface Overlaid {
  readonly value: unknown
  readonly issues: ReadonlyArray<Issue>
  /** The variable or option that a value at this path came from. */
  readonly originOf: (path: ReadonlyArray<PropertyKey>) => string | undefined
}

type Tree = Record<string, unknown>

const isTree = (value: unknown): value is Tree => typeof value === "object" && value !== null && !Array.isArray(value)

/** A file whose root is no mapping is left as it is: decoding says so. */
export const overlay = (file: unknown, environment: Environment, overrides: Overrides): Overlaid => {
  if (!isTree(file)) return { value: file, issues: [], originOf: () => undefined }
  const root: Tree = { ...file }
  const origins: Array<readonly [prefix: string, origin: string]> = []
  const issues: Array<Issue> = []

  const put = (origin: string, path: readonly [string, ...Array<string | number>], value: unknown) => {
    if (value === undefined || value === "") return
    const changed = withValue(root, path, value)
    Object.assign(root, changed)
    origins.push([path.join("\u0000"), origin])
  }

  put("WEIR_HOST", ["listeners", 0, "host"], environment["WEIR_HOST"])
  put("WEIR_PORT", ["listeners", 0, "port"], environment["WEIR_PORT"])
  put("--host", ["listeners", 0, "host"], overrides.host)
  put("--port", ["listeners", 0, "port"], overrides.port)
  put("--workers", ["server", "workers"], overrides.workers)
  put("WEIR_LOG_LEVEL", ["telemetry", "logs", "level"], environment["WEIR_LOG_LEVEL"])
  put("WEIR_LOG_FORMAT", ["telemetry", "logs", "format"], environment["WEIR_LOG_FORMAT"])
  put("--debug", ["telemetry", "logs", "level"], overrides.logLevel)
  putTelemetry(root, environment, put)

  const backends = Array.isArray(root["backends"]) ? root["backends"] : []
  const added = Result.getOrElse(readBackends(environment["WEIR_BACKENDS"] ?? ""), (message) => {
    issues.push({ at: ["WEIR_BACKENDS"], message })
    return []
  })
  for (const [index, entry] of added.entries()) put("WEIR_BACKENDS", ["backends", backends.length + index], entry)

  putKeys(root, environment, put)

  root["pools"] ??= [implicitPool(root["backends"])]
  const pools = Array.isArray(root["pools"]) ? root["pools"] : []
  const position = pools.findIndex((pool) => isTree(pool) && pool["name"] === "default")
  const inDefaultPool = (variable: string, ...path: ReadonlyArray<string>) => {
    const value = environment[variable]
    if (value === undefined || value === "") return
    if (position < 0) issues.push({ at: [variable], message: "is about the pool named default, and there is none" })
    else put(variable, ["pools", position, ...path], value)
  }
  inDefaultPool("WEIR_STRATEGY", "strategy")
  inDefaultPool("WEIR_MAX_CONCURRENT", "admission", "maxConcurrent")
  inDefaultPool("WEIR_MAX_QUEUE", "admission", "maxQueue")
  inDefaultPool("WEIR_MAX_RETRIES", "retry", "attempts")

  const originOf = (path: ReadonlyArray<PropertyKey>) => {
    const text = path.join("\u0000")
    return origins.findLast(([prefix]) => text === prefix || text.startsWith(`${prefix}\u0000`))?.[1]
  }
  return { value: root, issues, originOf }
}

/**
 * The standard variables of OpenTelemetry, for what the file leaves out; the SDK itself reads those that are about sending
 * (`OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_BSP_*`) and about the resource (`OTEL_RESOURCE_ATTRIBUTES`).
 */
const putTelemetry = (
  root: Tree,
  environment: Environment,
  put: (origin: string, path: readonly [string, ...Array<string | number>], value: unknown) => void
) => {
  put("OTEL_SERVICE_NAME", ["telemetry", "serviceName"], environment["OTEL_SERVICE_NAME"])
  const isOff = environment["OTEL_SDK_DISABLED"] === "true" || environment["OTEL_TRACES_EXPORTER"] === "none"
  const telemetry = isTree(root["telemetry"]) ? root["telemetry"] : {}
  if (isOff || telemetry["traces"] !== undefined) return
  const { OTEL_EXPORTER_OTLP_ENDPOINT: base, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: whole } = environment
  const endpoint = ["telemetry", "traces", "endpoint"] as const
  if (whole !== undefined && whole !== "") put("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint, whole)
  else if (base !== undefined && base !== "") {
    put("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint, `${base.replace(/\/+$/, "")}/v1/traces`)
  } else return
  const ratio = { always_on: "1", always_off: "0" }[sampler(environment)] ?? environment["OTEL_TRACES_SAMPLER_ARG"]
  put("OTEL_TRACES_SAMPLER", ["telemetry", "traces", "sampleRatio"], ratio)
}

const sampler = ({ OTEL_TRACES_SAMPLER: name }: Environment): string => name?.replace("parentbased_", "") ?? "always_on"

/** One client key named `default`; where there is no admin token, it opens the admin surface too. */
const putKeys = (
  root: Tree,
  environment: Environment,
  put: (origin: string, path: readonly [string, ...Array<string | number>], value: unknown) => void
) => {
  const key = environment["WEIR_API_KEY"]
  if (key !== undefined && key !== "") {
    const keys = Array.isArray(root["keys"]) ? root["keys"] : []
    const existing = keys.findIndex((entry) => isTree(entry) && entry["name"] === "default")
    put("WEIR_API_KEY", ["keys", existing < 0 ? keys.length : existing], { name: "default", key })
  }
  put("WEIR_ADMIN_TOKEN", ["admin", "token"], environment["WEIR_ADMIN_TOKEN"])
  const token = isTree(root["admin"]) ? root["admin"]["token"] : undefined
  if (token === undefined || token === "") put("WEIR_API_KEY", ["admin", "token"], key)
}

/** Comma-separated addresses, or a JSON array of backends in the form of the file. */
const readBackends = (text: string): Result.Result<ReadonlyArray<unknown>, string> => {
  const trimmed = text.trim()
  if (trimmed === "") return Result.succeed([])
  if (trimmed.startsWith("[")) {
    return Result.flatMap(
      Result.try({
        try: (): unknown => JSON.parse(trimmed),
        catch: () => "is neither a JSON array nor a list of addresses"
      }),
      (value) => (Array.isArray(value) ? Result.succeed(value) : Result.fail("expected a JSON array of backends"))
    )
  }
  const urls = trimmed
    .split(",")
    .map((url) => url.trim())
    .filter((url) => url !== "")
  return Result.succeed(urls.map((url, index) => ({ name: nameFromUrl(url) ?? `backend-${index + 1}`, url })))
}

const isName = Schema.is(Name)

const nameFromUrl = (url: string): string | undefined => {
  const host = URL.parse(url)?.host
  return isName(host) ? host : undefined
}

/** Without `pools` there is one that holds every backend. Names that are not valid are reported where they stand. */
const implicitPool = (backends: unknown): Tree => {
  const names = (Array.isArray(backends) ? backends : []).map((entry) => (isTree(entry) ? entry["name"] : undefined))
  return { name: "default", backends: [...new Set(names.filter((name) => isName(name)))] }
}

/** A copy of `tree` in which only what lies on the path is new; anything on the way that is no container gives way. */
const withValue = (tree: Tree, path: readonly [string, ...Array<string | number>], value: unknown): Tree => {
  const set = (node: unknown, [key, ...rest]: ReadonlyArray<string | number>): unknown => {
    if (key === undefined) return value
    if (typeof key === "number") {
      const copy: Array<unknown> = Array.isArray(node) ? [...node] : []
      copy[key] = set(copy[key] ?? {}, rest)
      return copy
    }
    return { ...(isTree(node) ? node : {}), [key]: set(isTree(node) ? node[key] : undefined, rest) }
  }
  const [key, ...rest] = path
  return { [key]: set(tree[key], rest) }
}
