/** What the schema of one field cannot see: names that must be unique, and names that must exist. */
import { Result } from "effect"
import { parsePathPattern, shapeOf } from "../domain/PathPattern.ts"
import { canonicalPath } from "../protocol/Endpoint.ts"
import { type Issue, suggestion } from "./Decoding.ts"
import { referenceIndexOf } from "./ReferenceIndex.ts"

type Path = ReadonlyArray<PropertyKey>

/** Every duplicate and every dangling reference in plain data, whatever else may be wrong with it. */
export const checkReferences = (value: unknown): ReadonlyArray<Issue> => {
  const index = referenceIndexOf(value)
  const issues: Array<Issue> = []
  const pools = index.pools.map(({ name }) => name)

  const known = (
    kind: string,
    names: ReadonlyArray<string | undefined>,
    wanted: ReadonlyArray<readonly [string | undefined, Path]>
  ) => {
    const defined = new Set(names.filter((name) => name !== undefined))
    for (const [name, at] of wanted) {
      if (name !== undefined && !defined.has(name)) issues.push({ at, message: unknownName(kind, name, [...defined]) })
    }
  }
  const unique = (what: string, values: ReadonlyArray<string | undefined>, at: (index: number) => Path) => {
    const firsts = new Map<string, number>()
    for (const [index, value] of values.entries()) {
      if (value === undefined) continue
      const first = firsts.get(value)
      if (first === undefined) firsts.set(value, index)
      else issues.push({ at: at(index), message: `duplicate ${what} (the same as in entry ${first})` })
    }
  }

  unique("backend", index.backends, (i) => ["backends", i, "name"])
  unique("pool", pools, (i) => ["pools", i, "name"])
  unique(
    "listener",
    index.listeners.map(({ name }) => name),
    (i) => ["listeners", i, "name"]
  )
  unique(
    "address",
    index.listeners.map(({ address }) => address),
    (i) => ["listeners", i, "port"]
  )
  unique(
    "key name",
    index.keys.map(({ name }) => name),
    (i) => ["keys", i, "name"]
  )
  // Two names for one secret would make it a matter of chance whose limits hold.
  unique(
    "key",
    index.keys.map(({ secret }) => secret),
    (i) => ["keys", i]
  )

  for (const [p, { members, name }] of index.pools.entries()) {
    // A gateway may start without any backend and be given some later; its default pool is then empty too.
    if (members?.length === 0 && (name !== "default" || index.backends.length > 0)) {
      issues.push({ at: ["pools", p, "backends"], message: "a pool needs at least one backend" })
    }
    unique("member", members ?? [], (i) => ["pools", p, "backends", i])
    known(
      "backend",
      index.backends,
      (members ?? []).map((name, i) => [name, ["pools", p, "backends", i]])
    )
  }
  for (const [l, { passThrough, pool, routes }] of index.listeners.entries()) {
    known("pool", pools, [[pool, ["listeners", l, "pool"]]])
    unique(
      "path",
      routes.map(({ path }) => shapeOfPath(path)),
      (i) => ["listeners", l, "routes", i, "path"]
    )
    unique("path", passThrough.map(shapeOfPath), (i) => ["listeners", l, "passThrough", i])
    known(
      "pool",
      pools,
      routes.map((route, i) => [route.pool, ["listeners", l, "routes", i, "pool"]])
    )
  }
  // The first rule that matches decides: the second of two could never be taken.
  unique(
    "match",
    index.models.map(({ match }) => match),
    (i) => ["models", i, "match"]
  )
  for (const [m, rule] of index.models.entries()) {
    if (rule.isIdle) issues.push({ at: ["models", m], message: idleRule })
    known("pool", pools, [[rule.pool, ["models", m, "pool"]]])
    known(
      "backend",
      index.backends,
      rule.backends.map((name, i) => [name, ["models", m, "backends", i]])
    )
  }
  known("backend", index.backends, [[index.fallbackBackend, ["fallbackBackend"]]])
  for (const [k, key] of index.keys.entries()) {
    const named = key.pools.map((name, i) => [name?.includes("*") ? undefined : name, ["keys", k, "pools", i]] as const)
    known("pool", pools, named)
  }
  return issues
}

const idleRule = "a rule needs a pool, backends, or something else to do with the models that it matches"

/** Two patterns of one shape match the same paths: the second could never be taken. What is no path has no shape. */
const shapeOfPath = (path: string | undefined): string | undefined => {
  if (path?.startsWith("/") !== true) return undefined
  const parsed = parsePathPattern(canonicalPath(path))
  return Result.isFailure(parsed) ? path : shapeOf(parsed.success)
}

const unknownName = (kind: string, name: string, names: ReadonlyArray<string>): string => {
  const nearest = suggestion(name, names)
  const listed = names.length === 0 ? "there are none" : `known: ${names.join(", ")}`
  return `unknown ${kind} ${name}${nearest === undefined ? "" : `; did you mean ${nearest}?`} (${listed})`
}
