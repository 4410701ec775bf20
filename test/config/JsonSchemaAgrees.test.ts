/** What the JSON Schema takes and refuses, beside what the loader does. */
import { readdirSync, readFileSync } from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Ajv } from "ajv"
import { Effect, Result } from "effect"
import * as Yaml from "yaml"
import { configJsonSchema } from "../../src/config/ConfigLoader.ts"
import { decodeConfig } from "../../src/config/Decoding.ts"
import { describedConfig } from "../../src/config/JsonSchema.ts"
import { isNode, type Node, nodesIn, withVariables } from "./SchemaNodes.ts"

const root = path.resolve(import.meta.dirname, "../..")

// A duration's bound stands beside its two types, not within one of them.
const ajv = new Ajv({ allErrors: true, strict: true, strictTypes: false })
const valid = ajv.compile(configJsonSchema())

/** What an editor would underline. */
const underlined = (value: unknown): ReadonlyArray<string> =>
  valid(value) ? [] : (valid.errors ?? []).map(({ instancePath, message }) => `${instancePath}: ${message ?? ""}`)

const problemsOf = (value: unknown): ReadonlyArray<string> => {
  const decoded = Effect.runSync(decodeConfig(withVariables(value)))
  return Result.isFailure(decoded) ? decoded.failure.map(({ at, message }) => `${at.join(".")}: ${message}`) : []
}

describe("what people are shown", () => {
  const blocksIn = (file: string) =>
    [...readFileSync(path.join(root, file), "utf8").matchAll(/^```yaml(?: fragment)?\n(.*?)^```/gms)].map(
      ([, text = ""]) => text
    )
  const files = readdirSync(path.join(root, "config")).filter((name) => name.endsWith(".yaml"))
  const shown: ReadonlyArray<readonly [string, string]> = [
    ...files.map((name) => [`config/${name}`, readFileSync(path.join(root, "config", name), "utf8")] as const),
    ...["README.md", "docs/configuration.md"].flatMap((file) =>
      blocksIn(file).map((text, index) => [`block ${index + 1} of ${file}`, text] as const)
    )
  ]
  assert.isAtLeast(shown.length, 18)

  for (const [name, text] of shown) {
    it(`is valid for editors and for the loader: ${name}`, () => {
      const value: unknown = Yaml.parse(text) ?? {}
      assert.deepStrictEqual(underlined(value), [])
      assert.deepStrictEqual(problemsOf(value), [])
    })
  }
})

describe("what is wrong", () => {
  const wrong: Record<string, string> = {
    "an unknown name": "listenrs: []",
    "an unknown name within": "pools: [{ name: p, backends: [a], stratgy: random }]",
    "an unknown name in one of several forms": "pools: [{ name: p, backends: [{ name: a, prio: 1 }] }]",
    "text that is no number": "listeners: [{ port: http }]",
    "a number where text belongs": "backends: [{ name: 1, url: http://h }]",
    "a number beyond its bounds": "listeners: [{ port: 65536 }]",
    "a part of a whole number": "server: { workers: 1.5 }",
    "text that is neither true nor false": "server: { reusePort: yes please }",
    "a list where one belongs": "telemetry: { serviceName: [a] }",
    "one where a list belongs": "security: { denyNetworks: 10.0.0.0/8 }",
    "nothing where something belongs": "server:",
    "a list without an entry": "listeners: []",
    "a rule without a backend": "models: [{ match: m, backends: [] }]",
    "what is required and missing": "backends: [{ name: a }]",
    "a word that is none of those known": "pools: [{ name: p, backends: [a], strategy: fastest }]",
    "a level that there is not": "telemetry: { logs: { level: loud } }",
    "a duration in an unknown unit": "server: { shutdownGrace: 5 fortnights }",
    "a size where a duration belongs": "health: { interval: 16MiB }",
    "a duration before now": "health: { interval: -1 }",
    "a size in an unknown unit": "limits: { maxBodyBytes: 16 pages }",
    "a duration where a size belongs": "limits: { maxBodyBytes: 30s }",
    "a size below nothing": "limits: { maxBodyBytes: -1 }",
    "an address of another scheme": "backends: [{ name: a, url: ftp://h }]",
    "a name that is none": "backends: [{ name: a b, url: http://h }]",
    "a path without a slash": "listeners: [{ routes: [{ path: v1, pool: p }] }]",
    "an auth of no known type": "backends: [{ name: a, url: http://h, auth: { type: digest } }]",
    "an auth with another's field": "backends: [{ name: a, url: http://h, auth: { type: bearer, value: x } }]",
    "an operation without its value": "backends: [{ name: a, url: http://h, headers: [{ op: insert, name: x }] }]",
    "a hash that is none": "keys: [{ name: k, sha256: abc }]"
  }
  for (const [what, text] of Object.entries(wrong)) {
    it(`is refused by both: ${what}`, () => {
      const value: unknown = Yaml.parse(text)
      assert.isNotEmpty(problemsOf(value), "by the loader")
      assert.isNotEmpty(underlined(value), "by the schema")
    })
  }
})

it("a variable may stand wherever a scalar does", () => {
  const text = `
server: { workers: "\${N}", shutdownGrace: "\${GRACE:-30s}", reusePort: "\${REUSE}" }
listeners: [{ port: "\${PORT}", host: "\${HOST}", passThrough: "\${PASS}" }]
backends: [{ name: "gpu-\${N}", url: "http://\${HOST}:8001", adapter: "\${KIND:-vllm}", maxConcurrency: "\${N}" }]
limits: { maxBodyBytes: "\${SIZE}" }
pools: [{ name: p, backends: ["gpu-\${N}"], strategy: "\${STRATEGY}", retry: { budget: "\${SHARE}" } }]
`
  assert.deepStrictEqual(underlined(Yaml.parse(text)), [])
})

/** A value for every scalar of the configuration, except for those that exclude another one. */
const excluded = new Set(["keys[].sha256", "models[].pool", "backends[].auth.credentials"])

const filled = (node: Node, at: string): unknown => {
  const { examples, items, properties } = node
  if (isNode(properties)) {
    const entries = Object.entries(properties).flatMap(([name, field]) => {
      const place = at === "" ? name : `${at}.${name}`
      return isNode(field) && !excluded.has(place) ? [[name, filled(field, place)] as const] : []
    })
    return Object.fromEntries(entries)
  }
  const form = formWithFields(node)
  if (form !== undefined) return filled(form, at)
  if (isNode(items) && (isNode(items["properties"]) || formWithFields(items) !== undefined)) {
    return [filled(items, `${at}[]`)]
  }
  return Array.isArray(examples) ? examples[0] : Array.isArray(node["enum"]) ? node["enum"][0] : undefined
}

const formWithFields = (node: Node): Node | undefined =>
  nodesIn(node["anyOf"]).findLast((each) => isNode(each["properties"]))

type Path = ReadonlyArray<string | number>

const leavesOf = (value: unknown, at: Path = []): ReadonlyArray<Path> => {
  if (Array.isArray(value)) return value.flatMap((each, index) => leavesOf(each, [...at, index]))
  return isNode(value) ? Object.entries(value).flatMap(([name, each]) => leavesOf(each, [...at, name])) : [at]
}

const replaced = (value: unknown, [key, ...rest]: Path, by: unknown): unknown => {
  if (key === undefined) return by
  if (Array.isArray(value)) return value.map((each, index) => (index === key ? replaced(each, rest, by) : each))
  return isNode(value) ? { ...value, [key]: replaced(value[key], rest, by) } : value
}

describe("a configuration that the loader takes", () => {
  const words =
    "a -1 0 1 1.0 1.5 5 8000 70000 1e3 true false yes null * /a /a/* /a/{x:[0-9]+}/:y 10.0.0.0/8 ::1 http://h " +
    "HTTPS://h/p?q ftp://h https://a.example app://* p50 vllm json debug random safe bearer remove ${X} 5S 1h 2weeks " +
    "16MiB 1KB 2kB 7B 3kilobytes (a) a(?P<n>b) [ ü"
  const texts = ["", "a b", "5 s", " 30 seconds ", "1.5 minutes", "16 MiB", "1.5 KiB", "9 QB", "\n", "a\u0000"]
  const long = ["b".repeat(64), "b".repeat(65), "3f".repeat(32)]
  const others = [-1, 0, 0.5, 1, 1.5, 60, 8000, 70_000, 1e9, true, false, null]
  const scalars = [...words.split(" "), ...texts, ...long, ...others]

  it("is not underlined, with any scalar in any place", () => {
    const base = replaced(filled(describedConfig(), ""), ["backends", 0, "url"], "https://10.0.0.1:8443")
    assert.deepStrictEqual(problemsOf(base), [])
    assert.deepStrictEqual(underlined(base), [])
    const leaves = leavesOf(base)
    assert.isAbove(leaves.length, 95)
    const taken = leaves.flatMap((at) =>
      scalars
        .map((scalar) => ({ at, scalar, value: replaced(base, at, scalar) }))
        .filter(({ value }) => problemsOf(value).length === 0)
    )
    assert.isAbove(taken.length, 1000)
    const underlinedAll = taken.flatMap(({ at, scalar, value }) => {
      const found = underlined(value)
      return found.length === 0 ? [] : [`${at.join(".")} = ${JSON.stringify(scalar)}: ${found.join("; ")}`]
    })
    assert.deepStrictEqual(underlinedAll, [])
  })
})
