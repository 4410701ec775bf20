import { assert, describe, it } from "@effect/vitest"
import {
  type Adapter,
  genericAdapter,
  healthFromStatus,
  loadFromPrometheus,
  parseModelList,
  readPrometheus
} from "../../src/backend/Adapter.ts"
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

  for (const body of [undefined, null, "text", 5, {}, { data: null }, { data: {} }, { error: { message: "no" } }]) {
    it(`is not seen in ${JSON.stringify(body)}`, () => assert.isUndefined(parseModelList(body)))
  }
})

const page = `# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a b}c"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 2
vllm:num_requests_running_total 99
vllm:num_requests_waiting 1.2e+01
vllm:kv_cache_usage_perc{engine="0"} 2.5E-1
bare 7 1700000000000
tabbed\t8
spaced    9
nan_only NaN
some_nan{a="1"} NaN
some_nan{a="2"} 4
infinite +Inf
negative -3.5
with_exemplar{le="1"} 5 # {trace_id="abc"} 0.67 1700000000.0
quoted{text="say \\"} 1\\" {"} 6
empty{a="1"}
crlf 10\r
`

describe("a page of metrics", () => {
  for (const [name, value] of [
    ["vllm:num_requests_running", 5],
    ["vllm:num_requests_waiting", 12],
    ["vllm:kv_cache_usage_perc", 0.25],
    ["bare", 7],
    ["tabbed", 8],
    ["spaced", 9],
    ["some_nan", 4],
    ["negative", -3.5],
    ["with_exemplar", 5],
    ["quoted", 6],
    ["crlf", 10],
    ["nan_only", undefined],
    ["infinite", undefined],
    ["empty", undefined],
    ["absent", undefined],
    ["vllm:num_requests", undefined],
    ["HELP", undefined]
  ] as const) {
    it(`says ${value} for ${name}`, () => assert.strictEqual(readPrometheus(page, name), value))
  }

  it("that is empty says nothing", () => assert.isUndefined(readPrometheus("", "bare")))
})

describe("an engine's load", () => {
  const load = loadFromPrometheus({ running: "run", waiting: "wait", kvCacheUsage: "kv" })
  const of = (body: unknown, status = 200) => load({ status, body })

  it("is read from three figures", () => {
    assert.deepStrictEqual(of("run 3\nwait 2\nkv 0.5"), { running: 3, waiting: 2, kvCacheUsage: 0.5 })
  })

  it("is known where one of the queues is, and at most all of the cache is in use", () => {
    assert.deepStrictEqual(of("run 3"), { running: 3, waiting: 0, kvCacheUsage: 0 })
    assert.deepStrictEqual(of("wait 1\nkv 37"), { running: 0, waiting: 1, kvCacheUsage: 1 })
  })

  it("is not known from a page that is none of it, nor from an error", () => {
    assert.isUndefined(of("kv 0.5"))
    assert.isUndefined(of(""))
    assert.isUndefined(of({ run: 3 }))
    assert.isUndefined(of("run 3", 404))
  })
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

describe("engines tell their load under their own names", () => {
  it("vLLM", () => {
    assert.deepStrictEqual(vllm.load({ status: 200, body: page }), {
      running: 5,
      waiting: 12,
      kvCacheUsage: 0.25
    })
  })

  it("llama.cpp", () => {
    const body = "llamacpp:requests_processing 1\nllamacpp:requests_deferred 2\nllamacpp:kv_cache_usage_ratio 0.75\n"
    assert.deepStrictEqual(llamaCpp.load({ status: 200, body }), {
      running: 1,
      waiting: 2,
      kvCacheUsage: 0.75
    })
  })

  it("servers of which nothing more is known do not", () => {
    for (const { load, loadPath } of [openAi, huaweiApig]) {
      assert.isUndefined(loadPath)
      assert.isUndefined(load({ status: 200, body: page }))
    }
  })
})
