/**
 * `GET /api/tags` and `GET /api/ps`, as Ollama's clients ask for the models that are there and for those in memory. No
 * backend is asked: what discovery and probes found last is told, of all backends together.
 */
import { hash } from "node:crypto"
import { Effect } from "effect"
import type { ModelInfo } from "../../domain/Health.ts"
import type { Proxy } from "../../proxy/Proxy.ts"
import { json } from "../Responses.ts"
import type { BuiltinRoute } from "./BuiltinRoutes.ts"

type Models = Proxy["Service"]["models"]

export const tagsRoute = (models: Models): BuiltinRoute => ({
  route: "/api/tags",
  access: "client",
  methods: {
    GET: ({ key, listener, snapshot }) =>
      Effect.sync(() => json({ models: withoutTwins(models(snapshot, listener, key, "served")).map(asListed) }))
  }
})

export const residentRoute = (models: Models): BuiltinRoute => ({
  route: "/api/ps",
  access: "client",
  methods: {
    GET: ({ key, listener, snapshot }) =>
      Effect.sync(() => json({ models: withoutTwins(models(snapshot, listener, key, "resident")).map(asResident) }))
  }
})

const latest = ":latest"

/** A model whose tag may be left out is known by two names, of which Ollama lists the one with the tag. */
const withoutTwins = (models: ReadonlyArray<ModelInfo>): ReadonlyArray<ModelInfo> => {
  const ids = new Set(models.map(({ id }) => id))
  return models.filter(({ id }) => !ids.has(id + latest))
}

/** What is not known is empty. Clients cut pieces off the digest, so it has the length of one: that of the name. */
const asListed = ({ created, id }: ModelInfo) => ({
  name: id,
  model: id,
  modified_at: new Date(created * 1000).toISOString(),
  size: 0,
  digest: hash("sha256", id, "hex"),
  details: { parent_model: "", format: "", family: "", families: [], parameter_size: "", quantization_level: "" }
})

const asResident = (model: ModelInfo) => {
  const { modified_at: _, ...listed } = asListed(model)
  return { ...listed, expires_at: "0001-01-01T00:00:00Z", size_vram: 0 }
}
