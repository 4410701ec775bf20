/** The JSON Schema tells everything that a configuration may say, in the form in which it is written. */
import { assert, describe, it } from "@effect/vitest"
import { Equal, Result, Schema, type SchemaAST } from "effect"
import { configJsonSchema } from "../../src/config/ConfigLoader.ts"
import { describedConfig } from "../../src/config/JsonSchema.ts"
import { docKeys } from "../../src/domain/Fields.ts"
import { ConfigFile } from "../../src/domain/GatewayConfig.ts"
import { isNode, type Node, nodesIn, withVariables } from "./SchemaNodes.ts"

/** Every schema within a schema, itself too, with where it stands; a property is one that has a name. */
interface Found {
  readonly at: string
  readonly node: Node
  readonly isProperty: boolean
  readonly isRequired: boolean
}

const everything = (node: Node, at: string, isProperty = false, isRequired = false): ReadonlyArray<Found> => {
  const required = Array.isArray(node["required"]) ? node["required"] : []
  const properties = isNode(node["properties"]) ? Object.entries(node["properties"]) : []
  const members = ["anyOf", "allOf", "oneOf", "prefixItems"].flatMap((keyword) => nodesIn(node[keyword]))
  return [
    { at, node, isProperty, isRequired },
    ...properties.flatMap(([name, each]) =>
      isNode(each) ? everything(each, `${at}.${name}`, true, required.includes(name)) : assert.fail(`${at}.${name}`)
    ),
    ...members.flatMap((each, index) => everything(each, `${at}|${index}`)),
    ...["items", "additionalProperties"].flatMap((keyword) =>
      isNode(node[keyword]) ? everything(node[keyword], `${at}[]`) : []
    )
  ]
}

const all = everything(configJsonSchema(), "")
const described = everything(describedConfig(), "")
const properties = described.filter(({ isProperty }) => isProperty)
const isConstant = ({ enum: values }: Node) => Array.isArray(values) && values.length === 1

const placesOf = (found: ReadonlyArray<Found>) => found.map(({ at }) => at)

describe("the JSON Schema", () => {
  it("has every field of the configuration", () => {
    assert.isAbove(properties.length, 130)
    const top = Object.keys(ConfigFile.fields)
    assert.deepStrictEqual(Object.keys(Object(configJsonSchema()["properties"])), top)
  })

  it("says of everything what it is", () => {
    const keywords = ["type", "enum", "anyOf", "$ref"]
    assert.deepStrictEqual(placesOf(all.filter(({ node }) => !keywords.some((keyword) => keyword in node))), [])
  })

  it("refuses unknown names everywhere", () => {
    const objects = all.filter(({ node }) => node["type"] === "object")
    assert.isAbove(objects.length, 25)
    assert.deepStrictEqual(placesOf(objects.filter(({ node }) => node["additionalProperties"] !== false)), [])
  })

  it("describes every field in a sentence", () => {
    const isSentence = ({ node: { description } }: Found) =>
      typeof description === "string" && /^[^a-z\s].*\.$/s.test(description)
    assert.deepStrictEqual(placesOf(all.filter((each) => each.isProperty && !isSentence(each))), [])
  })

  it("has an example for every field but those that can have one value only", () => {
    const without = properties.filter(({ node }) => !isConstant(node) && !Array.isArray(node["examples"]))
    assert.deepStrictEqual(placesOf(without), [])
  })

  it("has for every field that may be left out a default, or says what it means, and never both", () => {
    const optional = properties.filter(({ isRequired }) => !isRequired)
    assert.isAbove(optional.length, 100)
    const unclear = optional.filter(({ node }) => "default" in node === docKeys.absent in node)
    assert.deepStrictEqual(placesOf(unclear), [])
    const both = properties.filter(
      ({ isRequired, node }) => isRequired && ("default" in node || docKeys.absent in node)
    )
    assert.deepStrictEqual(placesOf(both), [])
  })

  it("tells the unit of every number, duration and size", () => {
    const isNumeric = ({ node }: Found) => {
      const types = [node, ...nodesIn(node["anyOf"])].map(({ type }) => type)
      return types.includes("number") || types.includes("integer")
    }
    const numeric = properties.filter(isNumeric)
    assert.isAbove(numeric.length, 50)
    assert.deepStrictEqual(placesOf(numeric.filter(({ node }) => typeof node[docKeys.unit] !== "string")), [])
    const silent = all.filter(
      (each) => each.isProperty && isNumeric(each) && !/Unit: /.test(String(each.node["description"]))
    )
    assert.deepStrictEqual(placesOf(silent), [])
  })

  it("keeps no keyword of its own", () => {
    const odd = all.filter(({ node }) => Object.keys(node).some((key) => key.startsWith("x-")))
    assert.deepStrictEqual(placesOf(odd), [])
  })
})

/** A field with what is said of the form in which it is written. */
interface Field {
  readonly at: string
  readonly name: string
  readonly ast: SchemaAST.AST
  readonly docs: Record<string, unknown>
}

const writtenForm = (ast: SchemaAST.AST): SchemaAST.AST => {
  const last = ast.encoding?.at(-1)
  return last === undefined ? ast : writtenForm(last.to)
}

const fieldsIn = (ast: SchemaAST.AST, at: string): ReadonlyArray<Field> => {
  if (ast._tag === "Arrays") return ast.rest.flatMap((each) => fieldsIn(each, `${at}[]`))
  if (ast._tag === "Union") return ast.types.flatMap((each) => fieldsIn(each, at))
  if (ast._tag !== "Objects") return []
  return ast.propertySignatures.flatMap(({ name, type }) => {
    const docs = writtenForm(type).context?.annotations ?? {}
    const field = { at: `${at}.${String(name)}`, name: String(name), ast: type, docs }
    return [field, ...fieldsIn(type, field.at)]
  })
}

describe("what the schema says", () => {
  const fields = fieldsIn(ConfigFile.ast, "")
  const decode = ({ ast, name }: Field, input: Record<string, unknown>) => {
    const alone = Schema.Struct({ [name]: Schema.make<Schema.Codec<unknown, unknown>>(ast) })
    return Schema.decodeUnknownResult(alone, { errors: "all", onExcessProperty: "error" })(input)
  }

  it("is said of every field", () => {
    assert.strictEqual(
      new Set(placesOf(properties).map((at) => at.replaceAll(/\|\d+/g, ""))).size,
      new Set(fields.map(({ at }) => at)).size
    )
  })

  it("every example can be read", () => {
    let count = 0
    for (const field of fields) {
      for (const example of Array.isArray(field.docs["examples"]) ? field.docs["examples"] : []) {
        const decoded = decode(field, { [field.name]: withVariables(example) })
        if (Result.isFailure(decoded))
          assert.fail(`${field.at}: ${JSON.stringify(example)}: ${decoded.failure.message}`)
        count++
      }
    }
    assert.isAbove(count, 130)
  })

  it("every default is what leaving the field out means", () => {
    const withDefault = fields.filter(({ docs }) => docs["default"] !== undefined)
    assert.isAbove(withDefault.length, 70)
    for (const field of withDefault) {
      const said = Result.getOrThrow(decode(field, { [field.name]: field.docs["default"] }))
      const silent = Result.getOrThrow(decode(field, {}))
      assert.isTrue(Equal.equals(said, silent), field.at)
    }
  })
})
