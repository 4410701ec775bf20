/** One thing that is wrong with a configuration, and the place in it. */
export interface Issue {
  readonly at: ReadonlyArray<PropertyKey>
  readonly message: string
}

/** Keys and indices as the contract writes them: `backends[2].url`. */
export const formatPath = (path: ReadonlyArray<PropertyKey>): string =>
  path.reduce<string>(
    (text, key) => (typeof key === "number" ? `${text}[${key}]` : text === "" ? String(key) : `${text}.${String(key)}`),
    ""
  )
