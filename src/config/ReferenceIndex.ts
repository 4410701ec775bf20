/**
 * The names in a configuration, read from data that may be wrong in other ways: so a dangling reference is found in
 * the same pass as a weight that is out of range. What is missing or of the wrong type is left out; decoding says so.
 */
type Tree = Record<string, unknown>

const isTree = (value: unknown): value is Tree => typeof value === "object" && value !== null && !Array.isArray(value)

const trees = (value: unknown): ReadonlyArray<Tree> =>
  Array.isArray(value) ? value.map((item: unknown) => (isTree(item) ? item : {})) : []

const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined)

const texts = (value: unknown): ReadonlyArray<string | undefined> => (Array.isArray(value) ? value.map(text) : [])

const members = (value: unknown): ReadonlyArray<string | undefined> | undefined =>
  Array.isArray(value) ? value.map((item: unknown) => text(isTree(item) ? item["name"] : item)) : undefined

const address = (listener: Tree): string | undefined => {
  const host = text(listener["host"]) ?? "127.0.0.1"
  const port = Number(listener["port"] ?? 8000)
  return port === 0 ? undefined : `${host}:${port}`
}

export const referenceIndexOf = (value: unknown) => {
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
      /** Whether it says nothing of the models that it matches. */
      isIdle: "match" in rule && Object.keys(rule).length === 1,
      pool: text(rule["pool"]),
      backends: texts(rule["backends"])
    })),
    fallbackBackend: text(root["fallbackBackend"]),
    keys: trees(root["keys"]).map((key) => ({
      name: text(key["name"]),
      secret: text(key["key"]) ?? text(key["sha256"]),
      pools: texts(key["pools"])
    }))
  }
}

export type ReferenceIndex = ReturnType<typeof referenceIndexOf>
