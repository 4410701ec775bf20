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

const numberOf = (id: string, model: string): number | undefined => {
  if (id === model) return 1
  if (!id.startsWith(`${model}-`)) return undefined
  const suffix = id.slice(model.length + 1)
  return /^([2-9]|[1-9]\d{1,5})$/.test(suffix) ? Number(suffix) : undefined
}

/** What a listing leaves out: an instance of a model that the same backend has under its plain name too. */
export const isNumberedInstance = (id: string, ids: ReadonlySet<string>): boolean => {
  const base = /^(.+)-([2-9]|[1-9]\d+)$/.exec(id)?.[1]
  return base !== undefined && ids.has(base)
}
