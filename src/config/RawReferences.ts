/**
 * The names in a configuration, read from data that may be wrong in other ways: so a dangling reference is found in
 * the same pass as a weight that is out of range. What is missing or of the wrong type is left out; decoding says so.
 */
import { digestOfSecret } from "../domain/ApiKey.ts"
import { checkReferences } from "../domain/CrossReferences.ts"
import type { Issue } from "../domain/Issue.ts"
import { addressOf, type ReferenceIndex } from "../domain/ReferenceIndex.ts"

/** Every duplicate, every dangling reference and every idle rule in plain data, whatever else may be wrong with it. */
export const checkRawReferences = (value: unknown): ReadonlyArray<Issue> => [
  ...checkReferences(rawIndexOf(value)),
  ...idleRules(value)
]

type Tree = Record<string, unknown>

const isTree = (value: unknown): value is Tree => typeof value === "object" && value !== null && !Array.isArray(value)

const trees = (value: unknown): ReadonlyArray<Tree> =>
  Array.isArray(value) ? value.map((item: unknown) => (isTree(item) ? item : {})) : []

const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined)

const texts = (value: unknown): ReadonlyArray<string | undefined> => (Array.isArray(value) ? value.map(text) : [])

const members = (value: unknown): ReadonlyArray<string | undefined> | undefined =>
  Array.isArray(value) ? value.map((item: unknown) => text(isTree(item) ? item["name"] : item)) : undefined

const address = (listener: Tree): string | undefined =>
  addressOf(text(listener["host"]) ?? "127.0.0.1", Number(listener["port"] ?? 8000))

const digest = (key: Tree): string | undefined => {
  const secret = text(key["key"])
  return secret === undefined ? text(key["sha256"])?.toLowerCase() : digestOfSecret(secret)
}

export const rawIndexOf = (value: unknown): ReferenceIndex => {
  const root = isTree(value) ? value : {}
  return {
    backends: trees(root["backends"]).map((backend) => text(backend["name"])),
    pools: trees(root["pools"]).map((pool) => ({ name: text(pool["name"]), members: members(pool["backends"]) })),
    listeners: trees(root["listeners"]).map((listener) => ({
      name: text(listener["name"]) ?? "public",
      address: address(listener),
      pool: text(listener["pool"]),
      passThrough: texts(listener["passThrough"]),
      routes: trees(listener["routes"]).map((route) => ({ path: text(route["path"]), pool: text(route["pool"]) }))
    })),
    models: trees(root["models"]).map((rule) => ({
      match: text(rule["match"]),
      pool: text(rule["pool"]),
      backends: texts(rule["backends"])
    })),
    fallbackBackend: text(root["fallbackBackend"]),
    keys: trees(root["keys"]).map((key) => ({
      name: text(key["name"]),
      digest: digest(key),
      pools: texts(key["pools"])
    }))
  }
}

/** Rules that say nothing of the models that they match: once decoded, one that says a default looks the same. */
const idleRules = (value: unknown): ReadonlyArray<Issue> =>
  trees(isTree(value) ? value["models"] : []).flatMap((rule, m) =>
    "match" in rule && Object.keys(rule).length === 1 ? [{ at: ["models", m], message: idleRule }] : []
  )

const idleRule = "a rule needs a pool, backends, or something else to do with the models that it matches"
