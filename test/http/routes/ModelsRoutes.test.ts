import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { ModelInfo } from "../../../src/domain/Health.ts"
import { modelRoute, modelsRoute } from "../../../src/http/routes/ModelsRoutes.ts"
import { jsonOf } from "../Requests.ts"

const served: ReadonlyArray<ModelInfo> = [
  { id: "plain", created: 7, ownedBy: "lab", maxModelLen: 4096 },
  { id: "mistralai/Mistral-7B", created: 0, ownedBy: "weir" },
  { id: "größe ✓", created: 0, ownedBy: "weir" },
  { id: "100%", created: 0, ownedBy: "weir" },
  { id: "a:b@c+d", created: 0, ownedBy: "weir" }
]

const prefix = "/v1/models/"

const one = (segment: string) =>
  jsonOf(
    modelRoute(() => served, prefix),
    prefix + segment
  )

describe("the list of models", () => {
  it.effect("is in OpenAI's form", () =>
    Effect.map(
      jsonOf(
        modelsRoute(() => served.slice(0, 2)),
        "/v1/models"
      ),
      (body) => {
        assert.deepStrictEqual(body, {
          object: "list",
          data: [
            { id: "plain", object: "model", created: 7, owned_by: "lab", max_model_len: 4096 },
            { id: "mistralai/Mistral-7B", object: "model", created: 0, owned_by: "weir" }
          ]
        })
      }
    )
  )

  it.effect("may be empty", () =>
    Effect.map(
      jsonOf(
        modelsRoute(() => []),
        "/v1/models"
      ),
      (body) => {
        assert.deepStrictEqual(body, { object: "list", data: [] })
      }
    )
  )
})

describe("one model", () => {
  it.effect.each([
    { segment: "plain", id: "plain" },
    { segment: "%70lain", id: "plain" },
    { segment: "mistralai/Mistral-7B", id: "mistralai/Mistral-7B" },
    { segment: "mistralai%2FMistral-7B", id: "mistralai/Mistral-7B" },
    { segment: "mistralai%2fMistral-7B", id: "mistralai/Mistral-7B" },
    { segment: encodeURIComponent("größe ✓"), id: "größe ✓" },
    { segment: "100%25", id: "100%" },
    { segment: "a:b@c+d", id: "a:b@c+d" },
    { segment: "plain/", id: "plain" },
    { segment: "mistralai/Mistral-7B/", id: "mistralai/Mistral-7B" }
  ])("is found at $segment", ({ id, segment }) =>
    Effect.map(one(segment), (body) => {
      assert.propertyVal(body, "id", id)
    })
  )

  it.effect.each([
    "",
    "unknown",
    "100%",
    "%",
    "%zz",
    "%e2%82",
    "%ff",
    "plain//",
    "plain%00",
    "%e2%80%aeplain",
    "%00%1b%5b31m%0a",
    "..",
    "__proto__",
    "x".repeat(10_000)
  ])("is not found at %j", (segment) =>
    Effect.map(Effect.flip(one(segment)), ({ code, message, status }) => {
      assert.deepStrictEqual([status, code], [404, "model_not_found"])
      assert.match(message, /^The model ".*" does not exist\.$/)
      assert.isBelow(message.length, 200)
      assert.notMatch(message, /[\p{Cc}\u202e]/u)
    })
  )

  it.effect.each([
    { segment: "no-such-model", shown: '"no-such-model"' },
    { segment: "mistralai%2fNone/", shown: '"mistralai/None"' },
    { segment: "a%22b", shown: '"a\\"b"' },
    { segment: "a%0ab", shown: '"a\\nb"' },
    { segment: "a%e2%80%aeb", shown: '"a\\u202eb"' },
    { segment: "100%", shown: '"100%"' },
    { segment: "x".repeat(500), shown: `"${"x".repeat(120)}…"` }
  ])("a model that does not exist is named, in one line: $shown", ({ segment, shown }) =>
    Effect.map(Effect.flip(one(segment)), ({ message }) => {
      assert.include(message, shown)
    })
  )
})
