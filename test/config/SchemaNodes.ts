/** What tests of the JSON Schema share. */
import type { JsonSchema } from "effect"
import { interpolate } from "../../src/config/Interpolation.ts"

export type Node = JsonSchema.JsonSchema

export const isNode = (value: unknown): value is Node =>
  typeof value === "object" && value !== null && !Array.isArray(value)

export const nodesIn = (value: unknown): ReadonlyArray<Node> => (Array.isArray(value) ? value.filter(isNode) : [])

/** What is written, with every variable set to something. */
export const withVariables = (value: unknown): unknown => {
  const names = JSON.stringify(value)?.matchAll(/\$\{(\w+)\}/g) ?? []
  return interpolate(value, Object.fromEntries([...names].map(([, name = ""]) => [name, `a-${name}`]))).value
}
