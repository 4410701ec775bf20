/** The load harness of the built program, against simulated engines of the built program. */
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { at, parsed } from "../sim/Harness.ts"
import { eventually, run, serve } from "./Program.ts"

/** `weir sim` on a port of its own. Its tokens are slow: on a busy machine those of a few milliseconds arrive together. */
const engine = Effect.fnUntraced(function* (...options: ReadonlyArray<string>) {
  const program = yield* run(["sim", "--model", "m", "--ttft", "40ms", "--itl", "25ms", "--tokens", "4", ...options])
  return yield* eventually(
    Effect.sync(() => /http:\S+/.exec(program.stdout.join("\n"))?.[0]),
    () => program.stderr.join("\n")
  )
})

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(path.join(tmpdir(), "weir-bench-"))),
  (made) => Effect.promise(() => rm(made, { recursive: true, force: true }))
)

const contentOf = (file: string) => Effect.promise(() => readFile(file, "utf8"))

/** `weir bench` with arguments that have no blanks in them. */
const bench = Effect.fnUntraced(function* (line: string) {
  const program = yield* run(["bench", ...line.split(" ")])
  const status = yield* program.ended
  return { status, stdout: program.stdout.join("\n"), stderr: program.stderr.join("\n") }
})

describe("weir bench run", () => {
  it.live("measures both modes through the gateway, with the first token of real streams and every node", () =>
    Effect.gen(function* () {
      const urls = [yield* engine("--seed", "1"), yield* engine("--seed", "2")]
      const gateway = yield* serve({
        backends: urls.map((url, index) => ({ name: `gpu-${index + 1}`, url, models: ["m"] })),
        pools: [{ name: "default", strategy: "round_robin", backends: ["gpu-1", "gpu-2"] }]
      })
      const file = path.join(yield* folder, "run.json")
      const { status, stdout, stderr } = yield* bench(
        `run --url ${gateway.url} --model m --mode both --requests 8 --concurrency 4 --stream --log-node --output ${file}`
      )
      assert.strictEqual(status, 0, stderr)
      // Its output is no terminal: no progress bar.
      assert.strictEqual(stderr, "")
      assert.include(stdout, "8 of 8 answered")
      assert.match(stdout, /Throughput multiplier: \d+\.\d\dx/)
      assert.match(stdout, /Nodes, sequential: gpu-\d x 4, gpu-\d x 4/)
      const json = parsed(yield* contentOf(file))
      assert.deepStrictEqual(at(json, "runs", "naive_node_counts"), { "gpu-1": 4, "gpu-2": 4 })
      for (const mode of ["naive", "concurrent"]) {
        const figure = (name: string): number => {
          const value = at(json, "runs", mode, name)
          return typeof value === "number" ? value : assert.fail(`${mode} has no ${name}`)
        }
        assert.strictEqual(figure("success_rate"), 100)
        assert.strictEqual(figure("completion_tokens"), 32)
        // The engine takes 40 ms for the first token and 25 ms for each of the three others.
        assert.isAtLeast(figure("time_to_first_token_p50_ms"), 38)
        assert.isAtLeast(figure("inter_token_p50_ms"), 15)
        assert.isAtLeast(figure("latency_p50_ms"), figure("time_to_first_token_p50_ms") + 32)
      }
      assert.isAbove(Number(at(json, "throughput_multiplier")), 1)
    })
  )

  it.live("does not claim to know the first token of answers that came as a whole", () =>
    Effect.gen(function* () {
      const url = yield* engine()
      const file = path.join(yield* folder, "run.json")
      const { status, stdout } = yield* bench(
        `run --url ${url}/v1 --model m --mode concurrent --requests 2 --output ${file}`
      )
      assert.strictEqual(status, 0)
      assert.include(stdout, "2 of 2 answered")
      const json = parsed(yield* contentOf(file))
      assert.isNull(at(json, "runs", "concurrent", "time_to_first_token_p50_ms"))
      assert.isUndefined(at(json, "runs", "naive"))
    })
  )

  it.live("counts failures by their reason, and ends with 1 when nothing was answered", () =>
    Effect.gen(function* () {
      const url = yield* engine("--api-key", "sk-right")
      const line = `run --url ${url} --model m --requests 2 --mode concurrent`
      const refused = yield* bench(`${line} --api-key sk-wrong`)
      assert.strictEqual(refused.status, 1)
      assert.include(refused.stderr, "no request was answered")
      assert.match(refused.stdout, /Failures, concurrent \(12\): HTTP 401.* x 2/)
      assert.notInclude(refused.stdout + refused.stderr, "sk-wrong")
      assert.strictEqual((yield* bench(`${line} --api-key sk-right`)).status, 0)
    })
  )
})

describe("weir bench sweep", () => {
  it.live("runs once for each number of requests at a time, and writes JSON, CSV and a chart", () =>
    Effect.gen(function* () {
      const url = yield* engine("--slots", "8")
      const made = yield* folder
      const json = path.join(made, "s.json")
      const csv = path.join(made, "s.csv")
      const svg = path.join(made, "s.svg")
      const { status, stderr, stdout } = yield* bench(
        `sweep --url ${url} --model m --concurrencies 1,2,4 --requests 8 --output-json ${json} --output-csv ${csv} --output-svg ${svg}`
      )
      assert.strictEqual(status, 0, stderr)
      assert.include(stdout, "█")
      const rows = parsed(yield* contentOf(json))
      assert.deepStrictEqual(
        [0, 1, 2].map((row) => at(rows, row, "concurrency")),
        [1, 2, 4]
      )
      assert.isAbove(Number(at(rows, 2, "tokens_per_second")), Number(at(rows, 0, "tokens_per_second")))
      assert.isAtLeast(Number(at(rows, 0, "time_to_first_token_p50_ms")), 38)
      const lines = (yield* contentOf(csv)).trimEnd().split("\n")
      assert.strictEqual(lines.length, 4)
      assert.match(lines[0] ?? "", /^concurrency,tokens_per_second,latency_p95_ms,error_rate,gpu_util_avg,vram_used/)
      assert.match(yield* contentOf(svg), /^<svg [\s\S]*<\/svg>\n$/)
    })
  )
})

describe("weir bench with something wrong", () => {
  it.live("says which argument, and ends with 2", () =>
    Effect.gen(function* () {
      const here = "--url http://127.0.0.1:1 --model m"
      const cases: ReadonlyArray<readonly [line: string, named: string]> = [
        ["run --model m", "--url"],
        ["run --url ftp://127.0.0.1 --model m", "http://"],
        ["run --url http://me:pw@127.0.0.1 --model m", "--api-key"],
        [`run ${here} --requests 0`, "--requests"],
        [`sweep ${here} --concurrencies 1,0`, "--concurrencies"]
      ]
      for (const [line, named] of cases) {
        const { status, stderr } = yield* bench(line)
        assert.strictEqual(status, 2, line)
        assert.include(stderr, named, line)
      }
    })
  )

  it.live("says where nothing answers, and where a result cannot be written", () =>
    Effect.gen(function* () {
      const nobody = yield* bench("run --url http://127.0.0.1:1 --model m")
      assert.strictEqual(nobody.status, 1)
      assert.strictEqual(nobody.stderr, "cannot reach http://127.0.0.1:1: connection refused")
      const url = yield* engine()
      const file = path.join(yield* folder, "nowhere", "r.json")
      const early = yield* bench(`run --url ${url} --model m --requests 1 --mode sequential --output ${file}`)
      assert.deepStrictEqual([early.status, early.stdout], [1, ""], "before anybody waits for the measurement")
      assert.strictEqual(early.stderr, `cannot write ${file}: there is no such folder`)
    })
  )

  it.live("loses nothing of what was measured where a file turns out not to be writable", () =>
    Effect.gen(function* () {
      const url = yield* engine()
      const place = yield* folder
      const run = yield* bench(`run --url ${url} --model m --requests 1 --mode sequential --output ${place}`)
      assert.strictEqual(run.status, 1)
      assert.include(run.stdout, "1 of 1 answered")
      assert.include(run.stderr, `cannot write ${place}`)
      const svg = path.join(place, "s.svg")
      const sweep = yield* bench(
        `sweep --url ${url} --model m --requests 1 --concurrencies 1 --output-csv ${place} --output-svg ${svg}`
      )
      assert.strictEqual(sweep.status, 1)
      assert.match(sweep.stdout, /^1 .* 100 %$/m)
      assert.include(sweep.stderr, `cannot write ${place}`)
      assert.match(yield* contentOf(svg), /^<svg /, "the other file is written all the same")
    })
  )
})
