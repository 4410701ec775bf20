/** A real Prometheus scrapes the built gateway. */

import { execFile, spawn } from "node:child_process"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { createInterface } from "node:readline"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Simulator } from "../../src/sim/Simulator.ts"
import { ask, chat } from "../e2e/Ask.ts"
import { eventually, serve } from "../e2e/Program.ts"
import { required } from "./Required.ts"

const setUp = Effect.gen(function* () {
  const simulator = yield* Simulator.make()
  const gateway = yield* serve({ backends: [{ name: "engine", url: simulator.url, adapter: "vllm" }] })
  yield* eventually(
    Effect.map(ask(`${gateway.url}/readyz`), ({ status }) => (status === 200 ? true : undefined)),
    () => "a ready gateway"
  )
  yield* chat(gateway.url, { max_tokens: 3 })
  yield* chat(gateway.url, { max_tokens: 3, stream: true, stream_options: { include_usage: true } })
  return gateway
})

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(path.join(tmpdir(), "weir-prometheus-"))),
  (made) => Effect.promise(() => rm(made, { recursive: true, force: true }))
)

/** Listens on a port of its own choice and says which in its log. */
const prometheus = Effect.fnUntraced(function* (target: string) {
  const home = yield* folder
  const file = path.join(home, "prometheus.yml")
  const job = `scrape_configs: [{ job_name: weir, scrape_interval: 200ms, scrape_timeout: 200ms, static_configs: [{ targets: ['${target}'] }] }]`
  yield* Effect.promise(() => writeFile(file, job))
  const log: Array<string> = []
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      const args = [`--config.file=${file}`, `--storage.tsdb.path=${home}/data`, "--web.listen-address=127.0.0.1:0"]
      const child = spawn(required("prometheus"), args, { stdio: ["ignore", "ignore", "pipe"] })
      createInterface({ input: child.stderr }).on("line", (line) => log.push(line))
      return child
    }),
    (child) =>
      Effect.callback<void>((resume) => {
        if (child.exitCode !== null) return resume(Effect.void)
        child.once("exit", () => resume(Effect.void))
        child.kill("SIGKILL")
      })
  )
  return yield* eventually(
    Effect.sync(() =>
      log.map((line) => /Listening on"? ?address=(\S+)/.exec(line)?.[1]).find((found) => found !== undefined)
    ),
    () => log.join("\n")
  )
})

describe("Prometheus", () => {
  it.live("finds nothing wrong with the text of /metrics", () =>
    Effect.gen(function* () {
      const gateway = yield* setUp
      const { text } = yield* ask(`${gateway.url}/metrics`)
      const complaints = yield* Effect.callback<string>((resume) => {
        const child = execFile(required("promtool"), ["check", "metrics"], (_error, stdout, stderr) =>
          resume(Effect.succeed(stdout + stderr))
        )
        child.stdin?.end(text)
      })
      assert.strictEqual(complaints.trim(), "")
    })
  )

  it.live("scrapes it, and answers queries about requests, backends and tokens", () =>
    Effect.gen(function* () {
      const gateway = yield* setUp
      const address = yield* prometheus(new URL(gateway.url).host)
      const query = (text: string) => ask(`http://${address}/api/v1/query?query=${encodeURIComponent(text)}`)
      for (const [text, expected] of [
        ["up", "1"],
        ['weir_http_requests_total{route="/v1/chat/completions",status="200"}', "2"],
        ['weir_upstream_requests_total{backend="engine"}', "2"],
        ['weir_backend_healthy{backend="engine"}', "1"],
        ['weir_tokens_total{kind="completion"}', "6"],
        ["histogram_quantile(1, weir_time_to_first_token_seconds_bucket) > bool 0", "1"]
      ] as const) {
        yield* eventually(
          Effect.map(query(text), (answer) => (answer.text.includes(`,"${expected}"]`) ? true : undefined)),
          () => text
        )
      }
    })
  )
})
