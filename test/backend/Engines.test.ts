/** What each kind of engine has of its own. */
import { assert, describe, it } from "@effect/vitest"
import type { Adapter } from "../../src/backend/Adapter.ts"
import { anthropic } from "../../src/backend/adapters/Anthropic.ts"
import { huaweiApig } from "../../src/backend/adapters/HuaweiApig.ts"
import { llamaBalancer } from "../../src/backend/adapters/LlamaBalancer.ts"
import { llamaCpp } from "../../src/backend/adapters/LlamaCpp.ts"
import { ollama } from "../../src/backend/adapters/Ollama.ts"
import { openAi } from "../../src/backend/adapters/OpenAi.ts"
import { sglang } from "../../src/backend/adapters/Sglang.ts"
import { vllm } from "../../src/backend/adapters/Vllm.ts"

const healthOf = ({ health }: Adapter, status: number, body?: unknown) => health({ status, body })
const loadOf = ({ load }: Adapter, body: unknown, status = 200) => load({ status, body })
const namesOf = ({ models }: Adapter, body: unknown) => models({ status: 200, body })?.map(({ id }) => id)

describe("a server with OpenAI's API", () => {
  it("tells no load", () => {
    for (const adapter of [openAi, huaweiApig, anthropic]) {
      assert.isUndefined(adapter.loadPath)
      assert.isUndefined(loadOf(adapter, "vllm:num_requests_running 3"))
    }
  })
})

describe("vLLM", () => {
  it("tells its load under its own names, of today and of yesterday", () => {
    const body = "vllm:num_requests_running 5\nvllm:num_requests_waiting 12\n"
    const load = { running: 5, waiting: 12, kvCacheUsage: 0.25 }
    assert.deepStrictEqual(loadOf(vllm, `${body}vllm:kv_cache_usage_perc 0.25\n`), load)
    assert.deepStrictEqual(loadOf(vllm, `${body}vllm:gpu_cache_usage_perc 0.25\n`), load)
  })
})

describe("llama.cpp", () => {
  it("tells its load under its own names", () => {
    const body = "llamacpp:requests_processing 1\nllamacpp:requests_deferred 2\nllamacpp:kv_cache_usage_ratio 0.75\n"
    assert.deepStrictEqual(loadOf(llamaCpp, body), { running: 1, waiting: 2, kvCacheUsage: 0.75 })
  })
})

describe("SGLang", () => {
  it("an SGLang that loads its model is warming", () => {
    assert.deepStrictEqual(
      [200, 503, 500, 401].map((status) => healthOf(sglang, status)),
      ["healthy", "warming", "unhealthy", "misconfigured"]
    )
  })

  it("tells its load under its own names", () => {
    const body = 'sglang:num_running_reqs{model_name="m"} 5\nsglang:num_queue_reqs 2\nsglang:token_usage 0.28\n'
    assert.deepStrictEqual(loadOf(sglang, body), { running: 5, waiting: 2, kvCacheUsage: 0.28 })
  })

  it("is not counted twice where it runs on several cards, or has queues by priority", () => {
    const body = `
sglang:num_running_reqs{dp_rank="0",tp_rank="0"} 5
sglang:num_running_reqs{dp_rank="0",tp_rank="1"} 5
sglang:num_running_reqs{dp_rank="1",tp_rank="0"} 1
sglang:num_queue_reqs{dp_rank="0",tp_rank="0",priority=""} 3
sglang:num_queue_reqs{dp_rank="0",tp_rank="0",priority="7"} 2
sglang:num_queue_reqs{dp_rank="0",tp_rank="0",priority="0"} 1
sglang:token_usage{dp_rank="0",tp_rank="0"} 0.5
sglang:token_usage{dp_rank="1",tp_rank="0"} 0.25
`
    assert.deepStrictEqual(loadOf(sglang, body), { running: 6, waiting: 3, kvCacheUsage: 0.375 })
  })
})

describe("Ollama", () => {
  it("knows a model without its tag too, where that is the latest", () => {
    const body = { object: "list", data: [{ id: "gemma3:latest", created: 1 }, { id: "qwen3:8b" }] }
    assert.deepStrictEqual(namesOf(ollama, body), ["gemma3:latest", "gemma3", "qwen3:8b"])
    assert.isUndefined(namesOf(ollama, "Ollama is running"))
  })

  it("tells which models are in memory, and of no request", () => {
    const body = { models: [{ name: "gemma3:latest", model: "gemma3:latest", size: 6_591_830_464, size_vram: 0 }] }
    assert.deepStrictEqual(loadOf(ollama, body), { kvCacheUsage: 0, residentModels: ["gemma3:latest"] })
    assert.deepStrictEqual(loadOf(ollama, { models: [] }), { kvCacheUsage: 0, residentModels: [] })
    assert.isUndefined(loadOf(ollama, { models: [] }, 404))
    assert.isUndefined(loadOf(ollama, "404 page not found"))
  })
})

describe("a balancer behind us", () => {
  for (const [said, health] of [
    [{ status: "idle", gpu_util_max5s: 3, window_seconds: 5 }, "healthy"],
    [{ status: "busy", gpu_util_max5s: 97.5, window_seconds: 5 }, "busy"],
    ["idle", "healthy"],
    ["IDLE\n", "healthy"],
    ["busy", "busy"],
    ["sleeping", "busy"],
    [{ status: 5 }, "busy"],
    [null, "busy"]
  ] as const) {
    it(`a balancer that says ${JSON.stringify(said)} is ${health}`, () => {
      assert.strictEqual(healthOf(llamaBalancer, 200, said), health)
    })
  }

  it("a balancer that fails is not busy but unhealthy, and one that refuses our key is misconfigured", () => {
    assert.deepStrictEqual(
      [500, 502, 401, 404].map((status) => healthOf(llamaBalancer, status, "busy")),
      ["unhealthy", "unhealthy", "misconfigured", "healthy"]
    )
  })

  it("tells the use of its GPU, and that it has a request where it is busy", () => {
    assert.deepStrictEqual(loadOf(llamaBalancer, { status: "busy", gpu_util_max5s: 97.5 }), {
      running: 1,
      kvCacheUsage: 0,
      gpuUsage: 0.975
    })
    assert.deepStrictEqual(loadOf(llamaBalancer, { status: "idle", gpu_util_max5s: 250 }), {
      running: 0,
      kvCacheUsage: 0,
      gpuUsage: 1
    })
    assert.deepStrictEqual(loadOf(llamaBalancer, "busy"), { running: 1, kvCacheUsage: 0 })
    assert.isUndefined(loadOf(llamaBalancer, { status: "busy" }, 500))
  })
})

describe("Anthropic", () => {
  it("an Anthropic that is overloaded is alive: it is asked last, and no circuit moves", () => {
    assert.strictEqual(healthOf(anthropic, 529), "busy")
    assert.deepStrictEqual([529, 429, 503, 500, 400].map(anthropic.classify), [
      "back_pressure",
      "back_pressure",
      "back_pressure",
      "backend_fault",
      "request_fault"
    ])
  })

  it("knows a model without its date too, where it does so itself", () => {
    const body = {
      data: [
        { type: "model", id: "claude-haiku-4-5-20251001", display_name: "x", created_at: "2025-10-15T00:00:00Z" },
        { type: "model", id: "claude-opus-4-20250514", created_at: "2025-05-22T00:00:00Z" },
        { type: "model", id: "claude-next", created_at: "2026-01-01T00:00:00Z" }
      ],
      has_more: false
    }
    assert.deepStrictEqual(namesOf(anthropic, body), [
      "claude-haiku-4-5-20251001",
      "claude-haiku-4-5",
      "claude-opus-4-20250514",
      "claude-next"
    ])
    const first = anthropic.models({ status: 200, body })?.[0]
    assert.deepInclude(first, { created: 1_760_486_400, ownedBy: "anthropic" })
  })
})
