/** `docs/configuration.md`, from the schema that reads a configuration. */
import { isDeepStrictEqual } from "node:util"
import type { JsonSchema } from "effect"
import * as Yaml from "yaml"
import { describedConfig } from "../../src/config/JsonSchema.ts"
import { docKeys } from "../../src/domain/Fields.ts"

type Node = JsonSchema.JsonSchema

const isNode = (value: unknown): value is Node => typeof value === "object" && value !== null && !Array.isArray(value)

const nodesIn = (value: unknown): ReadonlyArray<Node> => (Array.isArray(value) ? value.filter(isNode) : [])

/** The fields of an object, in the order in which the schema has them. */
const fieldsOf = ({ properties }: Node): ReadonlyArray<readonly [string, Node]> =>
  isNode(properties)
    ? Object.entries(properties).flatMap(([name, field]) => (isNode(field) ? [[name, field]] : []))
    : []

const isRequired = ({ required }: Node, name: string): boolean => Array.isArray(required) && required.includes(name)

export const configuration = (): string => {
  const root = describedConfig()
  return [introduction, ...fieldsOf(root).map(([name, field]) => section(name, field))].join("\n")
}

const introduction = `# Configuration

<!-- Written by npm run docs, from src/domain. Change it there. -->

One YAML file (JSON is YAML), found by \`--config\`, else \`WEIR_CONFIG\`, else \`./weir.yaml\`. Every field that has a default
may be left out, and a name that is not in these tables is refused. \`weir check\` prints a file with every default filled
in; \`weir schema\` prints what stands here as JSON Schema, for editors.

- **Variables.** \`\${NAME}\` and \`\${NAME:-default}\` are replaced from the environment in every text, secrets included. Text
  that spells a number or \`true\` or \`false\` counts as one. Quote it in \`{ }\` and \`[ ]\`: \`{ key: "\${TEAM_A_KEY}" }\`.
- **Durations** are \`500ms\`, \`30s\`, \`5m\`, \`1h\`, \`1d\` or \`30 seconds\`; a bare number is seconds.
- **Sizes** are \`512KiB\`, \`16MiB\`, \`1GB\`; a bare number is bytes.
- **Secrets** are never printed, logged, traced or returned.
- \`a[].b\` is the field \`b\` of each entry of the list \`a\`.
`

const section = (name: string, field: Node): string => {
  const rows = inside("", field)
  const table = rows.length === 0 ? [tableRow(cells(name, field, false))] : rows.map(tableRow)
  const { examples } = field
  const example = Array.isArray(examples) && rows.length > 0 ? fenced({ [name]: examples[0] }) : []
  const text = `${String(field["description"])} ${defaultSentence(field)}`.trimEnd()
  const words = rows.length === 0 ? [] : [text, "", ...example]
  return [`## ${name}`, "", ...words, ...head, ...table, ""].join("\n")
}

const columns = ["field", "type", "default", "unit", "example", "what it does"]

const head = [tableRow(columns), tableRow(columns.map(() => "---"))]

function tableRow(texts: ReadonlyArray<string>): string {
  return `| ${texts.map((text) => text.replaceAll("|", "\\|")).join(" | ")} |`
}

const fenced = (value: unknown) => ["```yaml fragment", Yaml.stringify(value, { lineWidth: 0 }).trimEnd(), "```", ""]

/** The rows of everything within a field: of an object, of a list's entries, and of each form that it may have. */
const inside = (path: string, node: Node, form = ""): ReadonlyArray<ReadonlyArray<string>> => {
  if (isNode(node["items"])) return inside(`${path}[]`, node["items"])
  const forms = nodesIn(node["anyOf"]).flatMap((each) => inside(path, each, tagOf(each)))
  const own = fieldsOf(node).flatMap(([name, field]) => {
    const at = path === "" || path === "[]" ? name : `${path}.${name}`
    const isTag = tagOf(node) === `${name}: ${constantOf(field) ?? ""}`
    return [cells(at, field, isRequired(node, name), isTag ? "" : form), ...inside(at, field)]
  })
  return [...own, ...forms]
}

/** `type: bearer`, where that is what tells one form of a field from the others. */
const tagOf = (node: Node): string =>
  fieldsOf(node).flatMap(([name, field]) => {
    const value = constantOf(field)
    return value === undefined ? [] : [`${name}: ${value}`]
  })[0] ?? ""

const constantOf = ({ enum: values }: Node): string | undefined =>
  Array.isArray(values) && values.length === 1 ? String(values[0]) : undefined

const cells = (path: string, field: Node, required: boolean, form = ""): ReadonlyArray<string> => {
  const { examples, [docKeys.secret]: secret, [docKeys.unit]: unit } = field
  return [
    code(path) + (form === "" ? "" : ` (${code(form)})`),
    typeOf(field),
    required ? "required" : defaultOf(field),
    typeof unit === "string" ? unit : "",
    Array.isArray(examples) ? inYaml(examples[0]) : "",
    String(field["description"]) + (secret === true ? " Secret." : "")
  ]
}

const defaultOf = (field: Node): string => {
  const absent = field[docKeys.absent]
  if (typeof absent === "string") return `left out: ${absent}`
  return isDeepStrictEqual(field["default"], {}) ? "those below" : inYaml(field["default"])
}

const defaultSentence = (field: Node): string =>
  typeof field[docKeys.absent] === "string"
    ? `${upperFirst(defaultOf(field))}.`
    : field["type"] === "array"
      ? `The default is ${defaultOf(field)}.`
      : ""

const inYaml = (value: unknown): string =>
  code(Yaml.stringify(value, { collectionStyle: "flow", lineWidth: 0, flowCollectionPadding: true }).trimEnd())

const code = (text: string): string => (text.includes("`") ? `\`\` ${text} \`\`` : `\`${text}\``)

const upperFirst = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)

/** A field's type in words. */
const typeOf = (node: Node): string => {
  const { anyOf, enum: values, items, maximum, minimum, minItems, title, type } = node
  if (typeof title === "string") return title
  if (Array.isArray(values)) return listed(values.map((value) => code(String(value))))
  if (Array.isArray(anyOf)) {
    const kinds = nodesIn(anyOf).filter((each) => !isSpelledOut(each, nodesIn(anyOf)))
    return [...new Set(kinds.map(typeOf))].join("; or ")
  }
  if (type === "array") {
    const of = isNode(items) ? typeOf(items) : "anything"
    return `list of ${of === "fields" ? "entries" : of.replaceAll("; or ", " or ")}${typeof minItems === "number" ? `, at least ${minItems}` : ""}`
  }
  if (type === "integer" || type === "number") {
    return `${type === "integer" ? "whole number" : "number"}, ${String(minimum)} to ${String(maximum)}`
  }
  return type === "boolean" ? "`true` or `false`" : type === "object" ? "fields" : "text"
}

/** Whether a form is only the text of another one, such as `"8000"` beside a number: what variables leave. */
const isSpelledOut = ({ type }: Node, forms: ReadonlyArray<Node>): boolean =>
  type === "string" && forms.some((other) => ["integer", "number", "boolean"].includes(String(other["type"])))

const listed = (texts: ReadonlyArray<string>): string =>
  texts.length < 2 ? texts.join("") : `${texts.slice(0, -1).join(", ")} or ${texts.at(-1) ?? ""}`
