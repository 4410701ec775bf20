import { assert, describe, it } from "@effect/vitest"
import { type Adapter, genericAdapter, healthFromStatus, parseModelList } from "../../src/backend/Adapter.ts"
import { huaweiApig } from "../../src/backend/adapters/HuaweiApig.ts"
import { llamaCpp } from "../../src/backend/adapters/LlamaCpp.ts"
import { openAi } from "../../src/backend/adapters/OpenAi.ts"
import { vllm } from "../../src/backend/adapters/Vllm.ts"

const idsOf = (body: unknown) => parseModelList(body)?.map(({ id }) => id)

describe("a list of models", () => {
  it("is read as OpenAI and vLLM give it", () => {
    const body = {
      object: "list",
      data: [
        { id: "m", object: "model", created: 1_700_000_000, owned_by: "vllm", max_model_len: 8192 },
        { id: "n", object: "model" }
      ]
    }
    assert.deepStrictEqual(parseModelList(body), [
      { id: "m", created: 1_700_000_000, ownedBy: "vllm", maxModelLen: 8192 },
      { id: "n", created: 0, ownedBy: "unknown" }
    ])
  })

  for (const [form, body] of [
    ["names instead of ids", { data: [{ name: "m" }, { name: "n" }] }],
    ["bare strings", { data: ["m", "n"] }],
    ["a bare list", [{ id: "m" }, "n"]],
    ["Ollama's list", { models: [{ name: "m", model: "m:latest" }, { model: "n" }] }]
  ] as const) {
    it(`is read as ${form}`, () => assert.deepStrictEqual(idsOf(body), ["m", "n"]))
  }

  it("is read in spite of entries that are none", () => {
    assert.deepStrictEqual(idsOf({ data: [null, 5, {}, { id: 7 }, { id: "" }, "", { id: "m" }, ["x"]] }), ["m"])
    assert.deepStrictEqual(
      parseModelList({ data: [{ id: "m", created: "now", owned_by: 1, max_model_len: "long" }] }),
      [{ id: "m", created: 0, ownedBy: "unknown" }]
    )
  })

  it("may be empty, which is not the same as no list", () => {
    assert.deepStrictEqual(idsOf({ data: [] }), [])
    assert.deepStrictEqual(idsOf([]), [])
  })

  it("tells when a model was made, as a number or as a date", () => {
    const createdAt = (date: unknown) => parseModelList([{ id: "m", created_at: date }])?.[0]?.created
    assert.strictEqual(createdAt("2025-02-19T00:00:00Z"), 1_739_923_200)
    assert.strictEqual(createdAt("some day"), 0)
    assert.strictEqual(createdAt(5), 0)
  })

  for (const body of [undefined, null, "text", 5, {}, { data: null }, { data: {} }, { error: { message: "no" } }]) {
    it(`is not seen in ${JSON.stringify(body)}`, () => assert.isUndefined(parseModelList(body)))
  }
})

describe("what the status of a probe says", () => {
  for (const [status, health] of [
    [200, "healthy"],
    [204, "healthy"],
    [404, "healthy"],
    [405, "healthy"],
    [401, "misconfigured"],
    [403, "misconfigured"],
    [429, "rate_limited"],
    [500, "unhealthy"],
    [502, "unhealthy"],
    [503, "unhealthy"]
  ] as const) {
    it(`${status} is ${health}`, () => assert.strictEqual(healthFromStatus(status), health))
  }

  const healthOf = ({ health }: Adapter, status: number) => health({ status, body: undefined })

  it("503 of llama.cpp is a model that is being loaded; of others it is a failure", () => {
    assert.deepStrictEqual(
      [llamaCpp, vllm, openAi, huaweiApig, genericAdapter].map((adapter) => healthOf(adapter, 503)),
      ["warming", "unhealthy", "unhealthy", "unhealthy", "unhealthy"]
    )
    assert.strictEqual(healthOf(llamaCpp, 401), "misconfigured")
    assert.strictEqual(healthOf(llamaCpp, 500), "unhealthy")
  })

  it("404 of a Huawei gateway shows that the gateway lives, 401 that our keys do not", () => {
    assert.deepStrictEqual([healthOf(huaweiApig, 404), healthOf(huaweiApig, 401)], ["healthy", "misconfigured"])
  })
})
