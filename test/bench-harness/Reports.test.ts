import { assert, describe, it } from "@effect/vitest"
import { barChart, svgChart } from "../../src/bench/Chart.ts"
import { summarize } from "../../src/bench/Measurement.ts"
import { printRuns, type RunsSettings, runsJson } from "../../src/bench/RunReport.ts"
import { sweepCsv, sweepJson, sweepTable } from "../../src/bench/SweepReport.ts"
import { at } from "../sim/Harness.ts"
import { answered } from "./Samples.ts"

const settings: RunsSettings = {
  requests: 2,
  concurrency: 8,
  promptTokens: 120,
  maxTokens: 200,
  baseUrl: "http://127.0.0.1:8000",
  model: "m",
  mode: "both",
  stream: true
}

const slow = summarize([answered(1000, { firstToken: 200, gaps: [10] }), answered(2000)], 4)
const quick = summarize([answered(500), answered(500)], 0.5)
const nothing = summarize([{ _tag: "Failed", node: "unknown", reason: "502 upstream_error" }], 1)

describe("the JSON of a run", () => {
  const json = runsJson({ sequential: slow, concurrent: quick }, settings, "2026-01-01T00:00:00.000Z")

  it("has the fields that other harnesses have", () => {
    assert.deepStrictEqual(at(json, "timestamp"), "2026-01-01T00:00:00.000Z")
    assert.deepInclude(at(json, "config"), { num_requests: 2, concurrency: 8, prompt_tokens: 120, max_tokens: 200 })
    assert.deepInclude(at(json, "config"), { base_url: "http://127.0.0.1:8000", model: "m" })
    assert.deepInclude(at(json, "runs", "naive"), {
      total_time_seconds: 4,
      requests_per_second: 0.5,
      tokens_per_second: 10
    })
    assert.deepInclude(at(json, "runs", "concurrent"), {
      total_time_seconds: 0.5,
      requests_per_second: 4,
      tokens_per_second: 80,
      latency_p50_ms: 500,
      latency_p95_ms: 500,
      latency_p99_ms: 500,
      error_rate: 0
    })
    assert.deepStrictEqual(at(json, "runs", "naive_node_counts"), { a: 2 })
    assert.deepStrictEqual(at(json, "runs", "concurrent_node_counts"), { a: 2 })
    assert.strictEqual(at(json, "throughput_multiplier"), 8)
  })

  it("tells the time to the first token where it was measured, and null where it was not", () => {
    assert.strictEqual(at(json, "runs", "naive", "time_to_first_token_p50_ms"), 200)
    assert.isNull(at(json, "runs", "concurrent", "time_to_first_token_p50_ms"))
    assert.strictEqual(at(json, "runs", "naive", "inter_token_p99_ms"), 10)
  })

  it("has no multiplier where there is nothing to compare, or nothing was answered one at a time", () => {
    for (const runs of [{ concurrent: quick }, { sequential: slow }, { sequential: nothing, concurrent: quick }]) {
      assert.isNull(at(runsJson(runs, settings, ""), "throughput_multiplier"))
    }
  })
})

describe("the text of a run", () => {
  it("shows both runs beside each other, the multiplier, and nodes only when asked", () => {
    const text = printRuns({ sequential: slow, concurrent: quick }, settings, true)
    assert.include(text, "concurrent (8)")
    assert.include(text, "Throughput multiplier: 8.00x")
    assert.include(text, "Nodes, sequential: a x 2")
    assert.notInclude(printRuns({ sequential: slow }, settings, false), "Nodes")
  })

  it("says why requests failed", () => {
    assert.include(
      printRuns({ concurrent: nothing }, settings, false),
      "Failures, concurrent (8): 502 upstream_error x 1"
    )
  })

  it("says so where tokens are only guessed, and what it takes to see the first one", () => {
    const guessed = summarize([answered(1, { counted: false })], 1)
    const text = printRuns({ sequential: guessed }, { ...settings, stream: false }, false)
    assert.match(text, /tokens\/s +about 20/)
    assert.include(text, "--stream")
  })
})

const steps = [
  { concurrency: 1, run: slow },
  { concurrency: 8, run: quick },
  { concurrency: 16, run: nothing }
]

describe("a sweep", () => {
  it("is a CSV that begins with the columns that other harnesses have", () => {
    const [header = "", first = "", , last = "", ...rest] = sweepCsv(steps).split("\n")
    assert.match(header, /^concurrency,tokens_per_second,latency_p95_ms,error_rate,gpu_util_avg,vram_used_mb_avg,/)
    assert.match(first, /^1,10,1950,0,,,/)
    assert.match(last, /^16,0,,100,,,/)
    assert.deepStrictEqual(rest, [""])
    const widths = new Set([header, first, last].map((line) => line.split(",").length))
    assert.strictEqual(widths.size, 1)
  })

  it("has the same figures in JSON, and the nodes that answered", () => {
    const json = sweepJson(steps)
    assert.deepInclude(json[1], { concurrency: 8, tokens_per_second: 80, latency_p95_ms: 500, node_counts: { a: 2 } })
    assert.deepInclude(json[2], { error_rate: 100, latency_p95_ms: null, errors: { "502 upstream_error": 1 } })
  })

  it("is a table and a chart in the terminal, the longest bar being the most tokens a second", () => {
    assert.strictEqual(sweepTable(steps).split("\n").length, 4)
    const bars = barChart(steps)
      .split("\n")
      .slice(1)
      .map((line) => line.split("█").length - 1)
    assert.deepStrictEqual(bars, [5, 40, 0])
  })

  it("is an SVG in which nothing from outside is markup", () => {
    const svg = svgChart(steps, '<script>alert("x")</script> & more')
    assert.notInclude(svg, "<script")
    assert.include(svg, "&#60;script&#62;alert(&#34;x&#34;)")
    assert.strictEqual(svg.split("<circle").length - 1, 6)
    assert.notInclude(svg, "NaN")
  })

  it("can be charted when it has one step only, or none that answered", () => {
    for (const few of [steps.slice(0, 1), steps.slice(2)]) {
      assert.notInclude(svgChart(few, "one") + barChart(few), "NaN")
    }
  })
})
