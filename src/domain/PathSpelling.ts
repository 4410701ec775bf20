/**
 * The paths that a forgiving server may take a path for. Some servers ignore case, merge slashes, decode before they
 * route, or cut parameters off: a decision about a path holds only if it holds for all of these.
 */

/** A path in which nothing of this occurs is read in one way only. */
const remarkable = /[%\\;A-Z]/

/** The segments of a path in each way of reading it: in lower case, decoded, without parameters, empty ones included. */
export const readingsOf = (path: string): ReadonlyArray<ReadonlyArray<string>> =>
  remarkable.test(path) ? loosely.map((read) => read(path.toLowerCase()).split(/[/\\]/)) : [path.split("/")]

const decoded = (path: string): string =>
  path.replace(/%([0-7][0-9a-f])/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))

const withoutParameters = (path: string): string => path.replace(/;[^/\\]*/g, "")

/** What the servers that forgive most take off a path; some do the one first, some the other, some decode twice. */
const loosely: ReadonlyArray<(path: string) => string> = [
  (path) => withoutParameters(decoded(path)),
  (path) => decoded(withoutParameters(path)),
  (path) => withoutParameters(decoded(path.replace(/;[^/]*/g, ""))),
  (path) => withoutParameters(decoded(decoded(path)))
]

const azureV1 = "/openai/v1"

/** `/openai/v1` is Azure's name for `/v1`: one path, so that nothing that is said of one can be got around by the other. */
export const canonicalPath = (path: string): string =>
  path.startsWith(azureV1) && (path.length === azureV1.length || path[azureV1.length] === "/")
    ? path.slice("/openai".length)
    : path
