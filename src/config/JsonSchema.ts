/** The configuration as JSON Schema: in the form in which people write it, before variables are replaced. */
import { isDeepStrictEqual } from "node:util"
import { JsonSchema, Schema } from "effect"
import { docKeys } from "../domain/Fields.ts"
import { ConfigFile } from "../domain/GatewayConfig.ts"
import { variable } from "./Interpolation.ts"

type Node = JsonSchema.JsonSchema

const isNode = (value: unknown): value is Node => typeof value === "object" && value !== null && !Array.isArray(value)

/** For editors, in draft 7, which all of them know. What it takes, the loader may still refuse: it sees more. */
export const configJsonSchema = (): Node => {
  const schema = [withVariables, toldInWords].reduce(rewrite, describedConfig())
  return {
    $schema: JsonSchema.META_SCHEMA_URI_DRAFT_07,
    title: "Configuration of Weir",
    ...JsonSchema.toDocumentDraft07({ dialect: "draft-2020-12", schema, definitions: {} }).schema
  }
}

/** The same for `docs/configuration.md`: without variables, and with {@link docKeys} on their own. */
export const describedConfig = (): Node => {
  const { schema } = Schema.toJsonSchemaDocument(ConfigFile, {
    onExcessProperty: "error",
    includeAnnotationKey: isDocKey
  })
  return [withOwnAnnotations, asList].reduce(rewrite, schema)
}

const isDocKey = (key: string): boolean => Object.values<string>(docKeys).includes(key)

/** Changes a schema from its leaves up. */
const rewrite = (node: Node, change: (node: Node) => Node): Node => {
  const inside = (value: unknown): unknown => (isNode(value) ? rewrite(value, change) : value)
  return change(
    Object.fromEntries(
      Object.entries(node).map(([keyword, value]) => {
        if (keyword === "properties" && isNode(value)) {
          return [keyword, Object.fromEntries(Object.entries(value).map(([name, field]) => [name, inside(field)]))]
        }
        if (keyword === "items") return [keyword, inside(value)]
        const isList = keyword === "anyOf" || keyword === "allOf" || keyword === "prefixItems"
        return [keyword, isList && Array.isArray(value) ? value.map(inside) : value]
      })
    )
  )
}

const annotations: ReadonlyArray<string> = ["title", "description", "default", "examples", ...Object.values(docKeys)]

/** What is said of a field stands in the field itself, not in an `allOf` beside it. */
const withOwnAnnotations = ({ allOf, ...node }: Node): Node => {
  if (!Array.isArray(allOf)) return node
  const members = allOf.filter(isNode)
  const isSaid = (member: Node) => Object.keys(member).every((key) => annotations.includes(key))
  const others = members.filter((member) => !isSaid(member))
  return Object.assign(node, ...members.filter(isSaid), others.length > 0 && { allOf: others })
}

/** A list with at least one entry is no tuple. */
const asList = ({ prefixItems, ...node }: Node): Node =>
  Array.isArray(prefixItems) && prefixItems.every((entry) => isDeepStrictEqual(entry, node["items"]))
    ? { ...node, minItems: prefixItems.length }
    : { ...node, ...(prefixItems !== undefined && { prefixItems }) }

/**
 * `${NAME}` may stand wherever a scalar does. Only a field of one possible value (`type: basic`) has to be written out:
 * editors tell by it which form is meant.
 */
const withVariables = ({ anyOf, enum: values, pattern, ...node }: Node): Node => {
  if (Array.isArray(values) && values.length > 1) {
    const { type, ...rest } = node
    return {
      ...rest,
      anyOf: [
        { type, enum: values },
        { type: "string", pattern: variable.source }
      ]
    }
  }
  return {
    ...node,
    ...(Array.isArray(anyOf) && { anyOf: anyOf.flatMap(alternatives) }),
    ...(values !== undefined && { enum: values }),
    ...(typeof pattern === "string" && { pattern: `${pattern}|${variable.source}` })
  }
}

/** Alternatives among alternatives are alternatives. */
const alternatives = (member: unknown): ReadonlyArray<unknown> =>
  isNode(member) && Array.isArray(member["anyOf"]) && Object.keys(member).length === 1 ? member["anyOf"] : [member]

/** Editors show the description and nothing else. */
const toldInWords = (node: Node): Node => {
  const { [docKeys.unit]: unit, [docKeys.absent]: absent, [docKeys.secret]: secret, description, ...rest } = node
  if (typeof description !== "string") return rest
  const sentences = [
    description,
    typeof unit === "string" && `Unit: ${unit}.`,
    typeof absent === "string" && `Left out: ${absent}.`,
    secret === true && "Secret: ${NAME} takes it from the environment."
  ]
  return { description: sentences.filter((sentence) => sentence !== false).join(" "), ...rest }
}
