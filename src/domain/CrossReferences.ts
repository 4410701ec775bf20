/** What the schema of one field cannot see: names that must be unique, and names that must exist. */
import { Result } from "effect"
import type { Issue } from "./Issue.ts"
import { parsePathPattern, shapeOf } from "./PathPattern.ts"
import { canonicalPath } from "./PathSpelling.ts"
import type { ReferenceIndex } from "./ReferenceIndex.ts"
import { suggestion } from "./Suggestion.ts"

type Path = ReadonlyArray<PropertyKey>
type Names = ReadonlyArray<string | undefined>
type Issues = ReadonlyArray<Issue>

/** Every duplicate and every dangling reference. */
export const checkReferences = (index: ReferenceIndex): Issues => {
  const isPool = known("pool", namesOf(index.pools))
  const isBackend = known("backend", index.backends)
  return [
    ...duplicates(index),
    ...ofPools(index, isBackend),
    ...ofListeners(index, isPool),
    ...ofModels(index, isPool, isBackend),
    ...isBackend([[index.fallbackBackend, ["fallbackBackend"]]]),
    ...ofKeys(index, isPool)
  ]
}

const namesOf = (entries: ReadonlyArray<{ readonly name: string | undefined }>): Names =>
  entries.map(({ name }) => name)

/** An issue for each of the names that is not defined. */
type Known = (wanted: ReadonlyArray<readonly [string | undefined, Path]>) => Issues

const known = (kind: string, names: Names): Known => {
  const defined = new Set(names.filter((name) => name !== undefined))
  return (wanted) =>
    wanted.flatMap(([name, at]) =>
      name === undefined || defined.has(name) ? [] : [{ at, message: unknownName(kind, name, [...defined]) }]
    )
}

const unique = (what: string, values: Names, at: (index: number) => Path): Issues => {
  const issues: Array<Issue> = []
  const firsts = new Map<string, number>()
  for (const [index, value] of values.entries()) {
    if (value === undefined) continue
    const first = firsts.get(value)
    if (first === undefined) firsts.set(value, index)
    else issues.push({ at: at(index), message: `duplicate ${what} (the same as in entry ${first})` })
  }
  return issues
}

const duplicates = ({ backends, keys, listeners, pools }: ReferenceIndex): Issues => {
  const addresses = listeners.map(({ address }) => address)
  const digests = keys.map(({ digest }) => digest)
  return [
    ...unique("backend", backends, (i) => ["backends", i, "name"]),
    ...unique("pool", namesOf(pools), (i) => ["pools", i, "name"]),
    ...unique("listener", namesOf(listeners), (i) => ["listeners", i, "name"]),
    ...unique("address", addresses, (i) => ["listeners", i, "port"]),
    ...unique("key name", namesOf(keys), (i) => ["keys", i, "name"]),
    // Two names for one secret would make it a matter of chance whose limits hold.
    ...unique("key", digests, (i) => ["keys", i])
  ]
}

const ofPools = ({ backends, pools }: ReferenceIndex, isBackend: Known): Issues =>
  pools.flatMap(({ members, name }, p) => {
    // A gateway may start without any backend and be given some later; its default pool is then empty too.
    const isEmpty = members?.length === 0 && (name !== "default" || backends.length > 0)
    const at = (i: number) => ["pools", p, "backends", i]
    return [
      ...(isEmpty ? [{ at: ["pools", p, "backends"], message: "a pool needs at least one backend" }] : []),
      ...unique("member", members ?? [], at),
      ...isBackend((members ?? []).map((member, i) => [member, at(i)]))
    ]
  })

const ofListeners = ({ listeners }: ReferenceIndex, isPool: Known): Issues =>
  listeners.flatMap(({ passThrough, pool, routes }, l) => {
    const at = (...rest: Path) => ["listeners", l, ...rest]
    const shapes = routes.map(({ path }) => shapeOfPath(path))
    return [
      ...isPool([[pool, at("pool")]]),
      ...unique("path", shapes, (i) => at("routes", i, "path")),
      ...unique("path", passThrough.map(shapeOfPath), (i) => at("passThrough", i)),
      ...isPool(routes.map((route, i) => [route.pool, at("routes", i, "pool")]))
    ]
  })

const ofModels = ({ models }: ReferenceIndex, isPool: Known, isBackend: Known): Issues => {
  const expressions = models.map(({ match }) => match)
  return [
    // The first rule that matches decides: the second of two could never be taken.
    ...unique("match", expressions, (i) => ["models", i, "match"]),
    ...models.flatMap(({ backends, pool }, m) => [
      ...isPool([[pool, ["models", m, "pool"]]]),
      ...isBackend(backends.map((name, i) => [name, ["models", m, "backends", i]]))
    ])
  ]
}

/** What has a `*` in it is a pattern, which may match nothing yet. */
const ofKeys = ({ keys }: ReferenceIndex, isPool: Known): Issues =>
  keys.flatMap(({ pools }, k) =>
    isPool(pools.map((name, i) => [name?.includes("*") === true ? undefined : name, ["keys", k, "pools", i]]))
  )

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
