/** `${NAME}` and `${NAME:-default}` in the strings of a configuration, replaced from the environment. */
import type { Issue } from "../domain/Issue.ts"

export type Environment = Readonly<Record<string, string | undefined>>

/** A variable's name, and what stands in its place where it is not set. */
export const variable = /\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}/g

/** The same data with every placeholder replaced, and a problem for each variable that is missing. */
export const interpolate = (
  value: unknown,
  environment: Environment
): { readonly value: unknown; readonly issues: ReadonlyArray<Issue> } => {
  const issues: Array<Issue> = []

  const replace = (text: string, at: ReadonlyArray<PropertyKey>): string =>
    text.replace(variable, (_, name: string, fallback: string | undefined) => {
      const found = environment[name]
      if (found !== undefined && (found !== "" || fallback === undefined)) return found
      if (fallback !== undefined) return fallback
      issues.push({ at, message: `the environment variable ${name} is not set` })
      return ""
    })

  const walk = (node: unknown, at: ReadonlyArray<PropertyKey>): unknown => {
    if (typeof node === "string") return replace(node, at)
    if (Array.isArray(node)) return node.map((item: unknown, index) => walk(item, [...at, index]))
    if (typeof node !== "object" || node === null) return node
    // A null prototype and defineProperty-free assignment keep a key such as __proto__ an ordinary, unknown key.
    const copy: Record<string, unknown> = Object.create(null)
    for (const [key, item] of Object.entries(node)) copy[key] = walk(item, [...at, key])
    return copy
  }

  return { value: walk(value, []), issues }
}
