import { assert, describe, it } from "@effect/vitest"
import { loadFromPrometheus, readPrometheus } from "../../src/backend/EngineMetrics.ts"

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
    ["vllm:num_requests_running", [3, 2]],
    ["vllm:num_requests_waiting", [12]],
    ["vllm:kv_cache_usage_perc", [0.25]],
    ["bare", [7]],
    ["tabbed", [8]],
    ["spaced", [9]],
    ["some_nan", [4]],
    ["negative", [-3.5]],
    ["with_exemplar", [5]],
    ["quoted", [6]],
    ["crlf", [10]],
    ["nan_only", []],
    ["infinite", []],
    ["empty", []],
    ["absent", []],
    ["vllm:num_requests", []],
    ["HELP", []]
  ] as const) {
    it(`says ${value.join(" and ") || "nothing"} for ${name}`, () => {
      assert.deepStrictEqual(readPrometheus(page, name), [...value])
    })
  }

  it("an empty page says nothing", () => assert.deepStrictEqual(readPrometheus("", "bare"), []))

  it("is read without the series that are a part of another", () => {
    assert.deepStrictEqual(readPrometheus(page, "vllm:num_requests_running", /engine="1"/), [3])
  })
})

describe("an engine's load", () => {
  const load = loadFromPrometheus({ running: "run", waiting: "wait", kvCacheUsage: ["kv", "old_kv"] })
  const of = (body: unknown, status = 200) => load({ status, body })

  it("is read from three metrics", () => {
    assert.deepStrictEqual(of("run 3\nwait 2\nkv 0.5"), { running: 3, waiting: 2, kvCacheUsage: 0.5 })
  })

  it("is known where one of the queues is, and at most all of the cache is in use", () => {
    assert.deepStrictEqual(of("run 3"), { running: 3, waiting: 0, kvCacheUsage: 0 })
    assert.deepStrictEqual(of("wait 1\nkv 37"), { running: 0, waiting: 1, kvCacheUsage: 1 })
  })

  it("adds up over the engines of one page; of their caches the mean is in use", () => {
    const two = 'run{e="0"} 3\nrun{e="1"} 4\nkv{e="0"} 0.9\nkv{e="1"} 0.5'
    assert.deepStrictEqual(of(two), { running: 7, waiting: 0, kvCacheUsage: 0.7 })
  })

  it("comes with the time at which the engine was started, where its page has it", () => {
    assert.deepInclude(of("run 3\nprocess_start_time_seconds 1.7e9"), { running: 3, startedAt: 1.7e9 })
  })

  it("is read under the name of the day", () => {
    assert.deepStrictEqual(of("run 3\nold_kv 0.5"), { running: 3, waiting: 0, kvCacheUsage: 0.5 })
  })

  it("is not known from a page that is none of it, nor from an error", () => {
    assert.isUndefined(of("kv 0.5"))
    assert.isUndefined(of(""))
    assert.isUndefined(of({ run: 3 }))
    assert.isUndefined(of("run 3", 404))
  })
})
