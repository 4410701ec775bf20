/**
 * Which of a listener's routes a path takes. Static before parameters; more static segments first; constrained
 * parameters before free ones; longer patterns first; then file order. Looking a path up costs a step for each of its
 * segments and for each node where routes branch there, not one for each route.
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

/** One node in the tree of segments. */
interface TrieNode<A> {
  readonly statics: Map<string, TrieNode<A>>
  readonly constrained: Map<string, { readonly matches: (segment: string) => boolean; readonly next: TrieNode<A> }>
  free: TrieNode<A> | undefined
  /** What matches when the path ends here. */
  ends: Route<A> | undefined
  /** What matches whatever follows. */
  rest: Route<A> | undefined
}

const emptyNode = <A>(): TrieNode<A> => ({
  statics: new Map(),
  constrained: new Map(),
  free: undefined,
  ends: undefined,
  rest: undefined
})

export const makePathRouter = <A>(
  routes: ReadonlyArray<{ readonly pattern: PathPattern; readonly value: A }>
): PathRouter<A> => {
  const root = emptyNode<A>()
  for (const [order, { pattern, value }] of routes.entries()) {
    const route = { value, rank: rankOf(pattern, order) }
    let node = root
    for (const segment of pattern.segments) {
      if (segment.kind === "rest") break
      node = childOf(node, segment)
    }
    const endsInRest = pattern.segments.at(-1)?.kind === "rest"
    if (endsInRest) node.rest = better(node.rest, route)
    else node.ends = better(node.ends, route)
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

const childOf = <A>(node: TrieNode<A>, segment: Exclude<Segment, { kind: "rest" }>): TrieNode<A> => {
  if (segment.kind === "free") return (node.free ??= emptyNode<A>())
  if (segment.kind === "static") {
    const next = node.statics.get(segment.text) ?? emptyNode<A>()
    node.statics.set(segment.text, next)
    return next
  }
  const branch = node.constrained.get(segment.source) ?? {
    matches: segment.regexp.matchesWhole,
    next: emptyNode<A>()
  }
  node.constrained.set(segment.source, branch)
  return branch.next
}

/** All places that the path can have reached are followed at once; there are never more than there are patterns. */
const lookUp = <A>(root: TrieNode<A>, segments: ReadonlyArray<string>): Route<A> | undefined => {
  let best: Route<A> | undefined
  let reached: ReadonlyArray<TrieNode<A>> = [root]
  for (const segment of segments) {
    const next: Array<TrieNode<A>> = []
    for (const node of reached) {
      if (node.rest !== undefined) best = better(best, node.rest)
      const same = node.statics.get(segment)
      if (same !== undefined) next.push(same)
      if (segment === "") continue
      for (const branch of node.constrained.values()) if (branch.matches(segment)) next.push(branch.next)
      if (node.free !== undefined) next.push(node.free)
    }
    if (next.length === 0) return best
    reached = next
  }
  for (const { ends } of reached) if (ends !== undefined) best = better(best, ends)
  return best
}
