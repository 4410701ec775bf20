/**
 * One model under several names on one backend: `m`, `m-2`, `m-3`, … are instances of it, each with a slot and a cache
 * of its own. A request for `m` may be served by any of them; the free one is asked by its own name.
 */

/** The names in `ids` that are instances of `model`: the plain one first, then by number. */
export const instancesOf = (ids: Iterable<string>, model: string): ReadonlyArray<string> => {
  const found: Array<{ readonly id: string; readonly number: number }> = []
  for (const id of ids) {
    const number = numberOf(id, model)
    if (number !== undefined) found.push({ id, number })
  }
  return found.toSorted((a, b) => a.number - b.number).map(({ id }) => id)
}

/** From 2 to 999: a model's date, such as `-1106` or `-20250514`, is no number of an instance. */
const numbered = /^(.+)-([2-9]|[1-9]\d{1,2})$/s

const numberOf = (id: string, model: string): number | undefined => {
  if (id === model) return 1
  const [, base, number] = numbered.exec(id) ?? []
  return base === model ? Number(number) : undefined
}

/** What a listing leaves out: an instance of a model that the same backend has under its plain name too. */
export const isNumberedInstance = (id: string, ids: ReadonlySet<string>): boolean => {
  const base = numbered.exec(id)?.[1]
  return base !== undefined && ids.has(base)
}
