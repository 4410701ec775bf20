import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Metric } from "effect"
import { NotFound, QueueFull } from "../../src/domain/Errors.ts"
import { MonotonicClock } from "../../src/domain/MonotonicClock.ts"
import { makeReporter } from "../../src/http/Reporter.ts"
import { RequestReport } from "../../src/proxy/Proxy.ts"
import { AccessLog } from "../../src/telemetry/Telemetry.ts"
import { counted, layerMetrics } from "../telemetry/TestMetrics.ts"
import { incoming, listener, type RequestLike } from "./Requests.ts"

type Fields = Readonly<Record<string, unknown>>

const setUp = Effect.fnUntraced(function* (logs = true) {
  const lines: Array<Fields> = []
  const log = { enabled: logs, write: (_message: string, fields: Fields) => void lines.push(fields) }
  const reporter = yield* makeReporter.pipe(
    Effect.provideService(AccessLog, log),
    Effect.provideService(MonotonicClock, { now: () => 1500 })
  )
  /** A request of the time 1000 that ended with this status. */
  const ended = (request: RequestLike, status: number, report = new RequestReport(1000), exit = Exit.void) => {
    const message = incoming(request)
    message.response.statusCode = status
    reporter.ended(message, listener(), undefined, report, exit)
  }
  return { ended, lines, reporter }
})

const scene = layerMetrics

describe("a request that has ended", () => {
  it.effect("is one line and one count, with labels of the program's own", () =>
    Effect.gen(function* () {
      const { ended, lines } = yield* setUp()
      const report = new RequestReport(1000)
      Object.assign(report, { pool: "p", backend: "b", model: "m", attempts: 2, queued: 3.14159, firstOutput: 20.06 })
      ended({ method: "POST", path: "/v1/chat/completions" }, 200, report)
      assert.deepStrictEqual(yield* counted("weir_http_requests_total"), { "public /v1/chat/completions POST 200": 1 })
      assert.strictEqual(lines.length, 1)
      assert.deepInclude(lines[0], {
        requestId: "r-1",
        listener: "public",
        method: "POST",
        path: "/v1/chat/completions",
        status: 200,
        durationMs: 500,
        pool: "p",
        backend: "b",
        model: "m",
        attempts: 2,
        queuedMs: 3.1,
        firstOutputMs: 20.1
      })
    }).pipe(Effect.provide(scene))
  )

  it.effect("makes no series by its path or its method, whatever they are", () =>
    Effect.gen(function* () {
      const { ended } = yield* setUp()
      for (const [method, path] of [
        ["PURGE", "/a"],
        ["__proto__", "/b"],
        ["constructor", "/v1/chat/completionsx"],
        ["TRACE", "/__proto__"]
      ] as const) {
        ended({ method, path }, 404)
      }
      assert.deepStrictEqual(yield* counted("weir_http_requests_total"), { "public other other 404": 4 })
    }).pipe(Effect.provide(scene))
  )

  it.effect(
    "is 499 where the client left before there was an answer, and keeps its status where it left behind it",
    () =>
      Effect.gen(function* () {
        const { lines, reporter } = yield* setUp()
        const left = Exit.interrupt()
        const before = incoming({ path: "/a" })
        reporter.ended(before, listener(), undefined, new RequestReport(1000), left)
        const after = incoming({ path: "/b" })
        Object.defineProperty(after.response, "headersSent", { value: true })
        after.response.statusCode = 200
        reporter.ended(after, listener(), undefined, new RequestReport(1000), left)
        const done = incoming({ path: "/c" })
        Object.defineProperty(done.response, "headersSent", { value: true })
        done.response.statusCode = 200
        const complete = new RequestReport(1000)
        complete.end = "complete"
        reporter.ended(done, listener(), undefined, complete, left)
        assert.deepStrictEqual(
          lines.map(({ end, path, status }) => [path, status, end]),
          [
            ["/a", 499, "client_gone"],
            ["/b", 200, "client_gone"],
            ["/c", 200, "complete"]
          ]
        )
      }).pipe(Effect.provide(scene))
  )

  it.effect("is no line where none is wanted, and where the gateway answered by itself", () =>
    Effect.gen(function* () {
      const silent = yield* setUp(false)
      silent.ended({ path: "/a" }, 200)
      assert.deepStrictEqual(silent.lines, [])
      const { lines, reporter } = yield* setUp()
      const own = { route: "/healthz", access: "public", methods: {} } as const
      reporter.ended(incoming({ path: "/healthz" }), listener(), own, new RequestReport(1000), Exit.void)
      assert.deepStrictEqual(lines, [])
      assert.deepInclude(yield* counted("weir_http_requests_total"), { "public /healthz GET 200": 1 })
    }).pipe(Effect.provide(scene))
  )

  it.effect("counts as the gateway's own share what neither the queue nor a backend took", () =>
    Effect.gen(function* () {
      const { ended } = yield* setUp()
      const report = new RequestReport(1000)
      Object.assign(report, { attempts: 1, queued: 100, upstream: 399 })
      ended({ path: "/a" }, 200, report)
      ended({ path: "/b" }, 404)
      const overhead = (yield* Metric.snapshot).find(({ id }) => id === "weir_overhead_seconds")
      if (overhead?.type !== "Histogram") assert.fail("no overhead")
      assert.deepInclude({ ...overhead.state }, { count: 1, sum: 0.001 })
    }).pipe(Effect.provide(scene))
  )
})

describe("an error of the gateway's own", () => {
  it.effect("is counted by its code, and as a rejection where a pool had no place", () =>
    Effect.gen(function* () {
      const { reporter } = yield* setUp()
      const report = new RequestReport(1000)
      reporter.refused(listener(), report, new NotFound({ message: "x" }))
      report.pool = "p"
      reporter.refused(listener(), report, new QueueFull({ message: "x" }))
      assert.deepStrictEqual(yield* counted("weir_http_errors_total"), {
        "public not_found 404": 1,
        "public queue_full 503": 1
      })
      assert.deepStrictEqual(yield* counted("weir_requests_rejected_total"), { "p queue_full": 1 })
      assert.strictEqual(report.error, "queue_full")
    }).pipe(Effect.provide(scene))
  )
})
