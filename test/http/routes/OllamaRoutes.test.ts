import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import type { ModelInfo } from "../../../src/domain/Health.ts"
import { residentRoute, tagsRoute } from "../../../src/http/routes/OllamaRoutes.ts"
import { jsonOf } from "../Requests.ts"

const model = (id: string): ModelInfo => ({ id, created: 1_700_000_000, ownedBy: "library" })

const served = ["llama3", "llama3:latest", "qwen3:0.6b", "org/plain"].map(model)

/** Of those that are served, one is in memory. */
const models = (_snapshot: unknown, _listener: unknown, _key: unknown, presence = "served") =>
  presence === "served" ? served : served.slice(2, 3)

const details = { parent_model: "", format: "", family: "", families: [], parameter_size: "", quantization_level: "" }

const Entries = Schema.Struct({ models: Schema.Array(Schema.Record(Schema.String, Schema.Unknown)) })
const decode = Schema.decodeUnknownSync(Entries)

const entriesOf = (body: unknown) => decode(body).models

describe("Ollama's list of models", () => {
  it.effect("has each model once, under the name with its tag", () =>
    Effect.map(jsonOf(tagsRoute(models), "/api/tags"), (body) => {
      assert.deepStrictEqual(
        entriesOf(body).map(({ model: id, name }) => [name, id]),
        ["llama3:latest", "qwen3:0.6b", "org/plain"].map((id) => [id, id])
      )
    })
  )

  it.effect("has the members that Ollama's clients read", () =>
    Effect.map(jsonOf(tagsRoute(models), "/api/tags"), (body) => {
      for (const entry of entriesOf(body)) {
        assert.deepInclude(entry, { modified_at: "2023-11-14T22:13:20.000Z", size: 0, details })
        assert.match(String(entry["digest"]), /^[0-9a-f]{64}$/)
      }
    })
  )

  it.effect("may be empty", () =>
    Effect.map(
      jsonOf(
        tagsRoute(() => []),
        "/api/tags"
      ),
      (body) => assert.deepStrictEqual(body, { models: [] })
    )
  )

  it.effect("the list of models in memory has no others, and says how much they take", () =>
    Effect.map(jsonOf(residentRoute(models), "/api/ps"), (body) => {
      const [first, ...rest] = entriesOf(body)
      assert.deepStrictEqual(rest, [])
      assert.deepInclude(first, { name: "qwen3:0.6b", model: "qwen3:0.6b", size: 0, size_vram: 0, details })
      assert.isTrue(Number.isFinite(Date.parse(String(first?.["expires_at"]))))
    })
  )
})
