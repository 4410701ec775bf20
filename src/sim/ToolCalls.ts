/** Calls of the client's tools: whether one is made, of which, and with what arguments. */
import { field, isRecord } from "./Json.ts"

/** A function that the client offers. */
export interface Tool {
  readonly name: string
  readonly parameters: unknown
}

/** What the client says about tools: that one must be called, that none may be, or nothing. */
export type Choice = { readonly must: string } | "any" | "none" | "auto"

export interface ToolCall {
  readonly name: string
  /** JSON text. */
  readonly arguments: string
}

/** With a free choice a tool is called where the last thing that the user said has the word "tool" in it. */
export const chooseTool = (
  tools: ReadonlyArray<Tool>,
  choice: Choice,
  lastUserText: string
): ToolCall | "unknown tool" | undefined => {
  const first = tools[0]
  if (first === undefined || choice === "none") return undefined
  if (choice === "any") return callOf(first)
  if (choice === "auto") return /\btools?\b/i.test(lastUserText) ? callOf(first) : undefined
  const named = tools.find(({ name }) => name === choice.must)
  return named === undefined ? "unknown tool" : callOf(named)
}

const callOf = (tool: Tool): ToolCall => ({ name: tool.name, arguments: JSON.stringify(sample(tool.parameters, 0)) })

const deepest = 8

/** A value that a JSON schema describes; the parts of it that are not understood yield the simplest value. */
const sample = (schema: unknown, depth: number): unknown => {
  if (depth > deepest) return null
  const given = [
    field(schema, "const"),
    field(schema, "default"),
    firstOf(field(schema, "enum")),
    firstOf(field(schema, "examples"))
  ]
  const fixed = given.find((value) => value !== undefined)
  if (fixed !== undefined) return fixed
  const variant = firstOf(field(schema, "anyOf")) ?? firstOf(field(schema, "oneOf")) ?? firstOf(field(schema, "allOf"))
  if (variant !== undefined) return sample(variant, depth + 1)
  const type = field(schema, "type")
  return sampleOfType(Array.isArray(type) ? type[0] : type, schema, depth)
}

const sampleOfType = (type: unknown, schema: unknown, depth: number): unknown => {
  switch (type) {
    case "string":
      return field(schema, "format") === "date" ? "2026-01-01" : "sample"
    case "integer":
    case "number": {
      const minimum = field(schema, "minimum")
      return typeof minimum === "number" ? minimum : 1
    }
    case "boolean":
      return true
    case "null":
      return null
    case "array":
      return [sample(field(schema, "items"), depth + 1)]
    default: {
      const properties = field(schema, "properties")
      if (!isRecord(properties)) return {}
      return Object.fromEntries(Object.entries(properties).map(([name, inner]) => [name, sample(inner, depth + 1)]))
    }
  }
}

const firstOf = (value: unknown): unknown => (Array.isArray(value) ? value[0] : undefined)
