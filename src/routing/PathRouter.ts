/**
 * Which of a listener's routes a path takes. Static before parameters; more static segments first; constrained
 * parameters before free ones; longer patterns first; then file order. Looking a path up costs a step for each of its
 * segments and for each place where routes branch there, not one for each route.
 */
import { Result } from "effect"
import { type PathPattern, parsePathPattern, type Segment } from "../domain/PathPattern.ts"
import { canonicalPath } from "../protocol/Endpoint.ts"

export interface PathRouter<A> {
  /** What belongs to the best pattern that matches; `path` without its query, as it came, not decoded. */
  readonly find: (path: string) => A | undefined
}

interface Route<A> {
  readonly rank: ReadonlyArray<number>
  readonly value: A
}

/** One place in the tree of segments. */
interface Place<A> {
  readonly statics: Map<string, Place<A>>
  readonly constrained: Map<string, { readonly matches: (segment: string) => boolean; readonly next: Place<A> }>
  free: Place<A> | undefined
  /** What matches when the path ends here. */
  ends: Route<A> | undefined
  /** What matches whatever follows. */
  rest: Route<A> | undefined
}

const emptyPlace = <A>(): Place<A> => ({
  statics: new Map(),
  constrained: new Map(),
  free: undefined,
  ends: undefined,
  rest: undefined
})

export const makePathRouter = <A>(
  routes: ReadonlyArray<{ readonly pattern: PathPattern; readonly value: A }>
): PathRouter<A> => {
  const root = emptyPlace<A>()
  for (const [order, { pattern, value }] of routes.entries()) {
    const route = { value, rank: rankOf(pattern, order) }
    let place = root
    for (const segment of pattern.segments) {
      if (segment.kind === "rest") break
      place = placeBehind(place, segment)
    }
    const endsInRest = pattern.segments.at(-1)?.kind === "rest"
    if (endsInRest) place.rest = better(place.rest, route)
    else place.ends = better(place.ends, route)
  }
  return { find: (path) => lookUp(root, path.split("/").slice(1))?.value }
}

/**
 * By patterns as they are configured; one that is none is left out. What can be asked for under two names is looked up
 * under one, whichever of them is configured.
 */
export const pathRouterOf = <A>(entries: ReadonlyArray<readonly [pattern: string, value: A]>): PathRouter<A> =>
  makePathRouter(
    entries.flatMap(([path, value]) => {
      const pattern = parsePathPattern(canonicalPath(path))
      return Result.isFailure(pattern) ? [] : [{ pattern: pattern.success, value }]
    })
  )

/** Compared position by position, smaller first. */
const rankOf = ({ segments, source }: PathPattern, order: number): ReadonlyArray<number> => {
  const count = (kind: Segment["kind"]) => segments.filter((segment) => segment.kind === kind).length
  const statics = count("static")
  return [statics === segments.length ? 0 : 1, -statics, -count("constrained"), -source.length, order]
}

const better = <A>(a: Route<A> | undefined, b: Route<A>): Route<A> => {
  if (a === undefined) return b
  const position = a.rank.findIndex((value, index) => value !== b.rank[index])
  return (a.rank[position] ?? 0) <= (b.rank[position] ?? 0) ? a : b
}

const placeBehind = <A>(place: Place<A>, segment: Exclude<Segment, { kind: "rest" }>): Place<A> => {
  if (segment.kind === "free") return (place.free ??= emptyPlace<A>())
  if (segment.kind === "static") {
    const next = place.statics.get(segment.text) ?? emptyPlace<A>()
    place.statics.set(segment.text, next)
    return next
  }
  const branch = place.constrained.get(segment.source) ?? {
    matches: segment.regexp.matchesWhole,
    next: emptyPlace<A>()
  }
  place.constrained.set(segment.source, branch)
  return branch.next
}

/** All places that the path can have reached are followed at once; there are never more than there are patterns. */
const lookUp = <A>(root: Place<A>, segments: ReadonlyArray<string>): Route<A> | undefined => {
  let best: Route<A> | undefined
  let reached: ReadonlyArray<Place<A>> = [root]
  for (const segment of segments) {
    const next: Array<Place<A>> = []
    for (const place of reached) {
      if (place.rest !== undefined) best = better(best, place.rest)
      const same = place.statics.get(segment)
      if (same !== undefined) next.push(same)
      if (segment === "") continue
      for (const branch of place.constrained.values()) if (branch.matches(segment)) next.push(branch.next)
      if (place.free !== undefined) next.push(place.free)
    }
    if (next.length === 0) return best
    reached = next
  }
  for (const { ends } of reached) if (ends !== undefined) best = better(best, ends)
  return best
}
