/** `GET /v1/models` and `GET /v1/models/{id}`. */
import { Effect } from "effect"
import { ModelNotFound } from "../../domain/Errors.ts"
import type { ModelInfo } from "../../domain/Health.ts"
import type { Proxy } from "../../proxy/Proxy.ts"
import { quoted } from "../../telemetry/Telemetry.ts"
import { json } from "../Responses.ts"
import type { BuiltinRoute } from "./BuiltinRoutes.ts"

type Models = Proxy["Service"]["models"]

export const modelsRoute = (models: Models): BuiltinRoute => ({
  route: "/v1/models",
  access: "client",
  methods: {
    GET: ({ key, listener, snapshot }) =>
      Effect.sync(() => json({ object: "list", data: models(snapshot, listener, key).map(toOpenAi) }))
  }
})

/** A name may hold slashes, as `mistralai/Mistral-7B` does, but not end with one: clients that add one mean no more by it. */
export const modelRoute = (models: Models, prefix: string): BuiltinRoute => ({
  route: "/v1/models/{id}",
  access: "client",
  methods: {
    GET: ({ incoming, key, listener, snapshot }) =>
      Effect.suspend(() => {
        const asked = incoming.path.slice(prefix.length).replace(/\/$/, "")
        const id = decode(asked)
        const model = models(snapshot, listener, key).find((candidate) => candidate.id === id)
        return model === undefined
          ? Effect.fail(
              new ModelNotFound({ message: `The model ${quoted(id ?? asked)} does not exist.`, param: "model" })
            )
          : Effect.succeed(json(toOpenAi(model)))
      })
  }
})

const toOpenAi = ({ created, id, maxModelLen, ownedBy }: ModelInfo) => ({
  id,
  object: "model",
  created,
  owned_by: ownedBy,
  ...(maxModelLen !== undefined && { max_model_len: maxModelLen })
})

/** What is not valid percent-encoding names no model. */
const decode = (segment: string): string | undefined =>
  /^(?:[^%]|%[0-9a-f]{2})*$/i.test(segment) ? Buffer.from(unescapeBytes(segment), "latin1").toString("utf8") : undefined

const unescapeBytes = (segment: string): string =>
  segment.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
