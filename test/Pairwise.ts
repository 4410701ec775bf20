/** Few cases out of many: two values that occur together in any case do so in one of these. The same in each run. */
export const pairwise = <A extends object>(all: ReadonlyArray<A>): ReadonlyArray<A> => {
  let candidates = all.map((each) => ({ each, pairs: pairsOf(each) }))
  const open = new Set(candidates.flatMap(({ pairs }) => pairs))
  const chosen: Array<A> = []
  while (open.size > 0) {
    const fresh = candidates.map(({ pairs }) => pairs.filter((pair) => open.has(pair)).length)
    const best = candidates[fresh.indexOf(Math.max(...fresh))]
    if (best === undefined) break
    chosen.push(best.each)
    for (const pair of best.pairs) open.delete(pair)
    // Among equally good ones, the last ones are taken too.
    candidates = candidates.toReversed()
  }
  return chosen
}

const pairsOf = (of: object): ReadonlyArray<string> => {
  const members = Object.entries(of).map(([name, value]) => `${name}=${value}`)
  return members.flatMap((first, at) => members.slice(at + 1).map((second) => `${first} ${second}`))
}
