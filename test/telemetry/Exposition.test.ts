import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { Telemetry } from "../../src/domain/GatewayConfig.ts"
import { Exposition } from "../../src/telemetry/Exposition.ts"
import { families } from "../../src/telemetry/Families.ts"
import { Metrics } from "../../src/telemetry/Metrics.ts"

const settings = Schema.decodeSync(Telemetry)({})

const layer = Layer.mergeAll(Metrics.layer, Exposition.layer(settings)).pipe(
  Layer.provideMerge(Layer.fresh(Exposition.layerRegistry))
)

interface Series {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** As Prometheus reads it: a line it could not read fails the test. */
const parse = (text: string): ReadonlyArray<Series> =>
  text
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => {
      const [, name, labels = "", value] =
        /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (-?[0-9.e+-]+|[+-]Inf|NaN)$/.exec(line) ?? []
      assert.isDefined(name, `unreadable: ${line}`)
      const pairs = [...labels.matchAll(/([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"(?:,|$)/g)]
      assert.strictEqual(pairs.map(([whole]) => whole).join(""), labels, `unreadable: ${line}`)
      return {
        name: name ?? "",
        labels: Object.fromEntries(pairs.map(([, key, content]) => [key, content])),
        value: Number(value?.replace("Inf", "Infinity"))
      }
    })

const scrape = Effect.flatMap(Exposition, ({ text }) => Effect.map(text, parse))

/** The contract, section 7: each name with its labels. */
const counters: ReadonlyArray<
  readonly [family: Exclude<keyof typeof families, "overhead">, name: string, ...labels: ReadonlyArray<string>]
> = [
  ["httpRequests", "weir_http_requests_total", "listener", "route", "method", "status"],
  ["httpErrors", "weir_http_errors_total", "listener", "code", "status"],
  ["rateLimited", "weir_ratelimit_total", "listener", "scope"],
  ["rejected", "weir_requests_rejected_total", "pool", "reason"],
  ["upstreamRequests", "weir_upstream_requests_total", "pool", "backend"],
  ["upstreamErrors", "weir_upstream_errors_total", "pool", "backend", "error"],
  ["retries", "weir_retries_total", "pool", "reason"],
  ["circuitChanges", "weir_circuitbreaker_state_changes_total", "backend", "from", "to"],
  ["circuitCalls", "weir_circuitbreaker_calls_total", "backend", "result"],
  ["tokens", "weir_tokens_total", "pool", "model", "kind"],
  ["streamEnds", "weir_stream_ends_total", "pool", "end"],
  ["sticky", "weir_sticky_total", "pool", "outcome"],
  ["connectionsRefused", "weir_connections_refused_total", "listener"],
  ["configReloads", "weir_config_reloads_total", "result"]
]

const histograms: typeof counters = [
  ["httpDuration", "weir_http_request_duration_seconds", "listener", "route"],
  ["queueWait", "weir_queue_wait_seconds", "pool"],
  ["upstreamDuration", "weir_upstream_duration_seconds", "pool", "backend"],
  ["firstToken", "weir_time_to_first_token_seconds", "pool", "model"],
  ["interToken", "weir_inter_token_latency_seconds", "pool", "model"]
]

/** A value for each label that there is; a family takes those that are its own. */
const values = {
  backend: "a backend",
  code: "a code",
  end: "an end",
  error: "an error",
  from: "a phase",
  kind: "a kind",
  listener: "a listener",
  method: "a method",
  model: "a model",
  outcome: "an outcome",
  pool: "a pool",
  reason: "a reason",
  result: "a result",
  route: "a route",
  scope: "a scope",
  status: "a status",
  to: "another phase"
}

const valuesOf = (labels: ReadonlyArray<string>) =>
  Object.fromEntries(Object.entries(values).filter(([label]) => labels.includes(label)))

describe("what Prometheus scrapes", () => {
  it("is tested for every family", () => {
    const tested = [...counters, ...histograms].map(([family]) => family)
    assert.sameMembers([...tested, "overhead"], Object.keys(families))
  })

  for (const [family, name, ...labels] of counters) {
    it.effect(`has the counter ${name}{${labels.join()}}`, () =>
      Effect.gen(function* () {
        const metrics = yield* Metrics
        metrics[family](values)(2)
        metrics[family](values)(3)
        assert.deepStrictEqual(yield* scrape, [{ name, labels: valuesOf(labels), value: 5 }])
        assert.include(yield* (yield* Exposition).text, `# TYPE ${name} counter`)
      }).pipe(Effect.provide(layer))
    )
  }

  for (const [family, name, ...labels] of histograms) {
    it.effect(`has the histogram ${name}{${labels.join()}}, in seconds`, () =>
      Effect.gen(function* () {
        const metrics = yield* Metrics
        for (const seconds of [0.0004, 0.2, 400, 5000]) metrics[family](values)(seconds)
        const series = yield* scrape
        const told = (suffix: string) => series.filter((one) => one.name === `${name}${suffix}`)
        assert.deepStrictEqual(told("_count"), [{ name: `${name}_count`, labels: valuesOf(labels), value: 4 }])
        assert.closeTo(told("_sum")[0]?.value ?? 0, 5400.2004, 1e-6)
        const upTo = (le: string) => told("_bucket").find((one) => one.labels["le"] === le)?.value
        assert.deepStrictEqual([upTo("0.001"), upTo("0.25"), upTo("600"), upTo("+Inf")], [1, 2, 3, 4])
        assert.include(yield* (yield* Exposition).text, `# TYPE ${name} histogram`)
      }).pipe(Effect.provide(layer))
    )
  }

  it.effect("has the gateway's own share of a request, fine enough to see it", () =>
    Effect.gen(function* () {
      const metrics = yield* Metrics
      metrics.overhead(0.00008)
      const below = (yield* scrape).find(
        ({ labels, name }) => name === "weir_overhead_seconds_bucket" && labels["le"] === "0.0001"
      )
      assert.strictEqual(below?.value, 1)
    }).pipe(Effect.provide(layer))
  )

  it.effect("has gauges that are read at each scrape, until their owner ends them", () =>
    Effect.gen(function* () {
      const metrics = yield* Metrics
      let inflight = 3
      const end = metrics.observe("weir_backend_inflight", "In flight", { backend: "a" }, () => inflight)
      metrics.observe("weir_backend_inflight", "In flight", { backend: "b" }, () => 7)
      const told = Effect.map(scrape, (series) => series.map(({ labels, value }) => [labels["backend"], value]))
      assert.deepStrictEqual(yield* told, [
        ["a", 3],
        ["b", 7]
      ])
      inflight = 4
      assert.deepInclude(yield* told, ["a", 4])
      assert.include(yield* (yield* Exposition).text, "# TYPE weir_backend_inflight gauge")
      end()
      assert.deepStrictEqual(yield* told, [["b", 7]])
    }).pipe(Effect.provide(layer))
  )

  it.effect("has totals that are read at each scrape, as counters", () =>
    Effect.gen(function* () {
      const metrics = yield* Metrics
      let seconds = 1.5
      const end = metrics.observeTotal("process_cpu_seconds_total", "CPU time", () => seconds)
      assert.deepStrictEqual(yield* scrape, [{ name: "process_cpu_seconds_total", labels: {}, value: 1.5 }])
      seconds = 2
      assert.strictEqual((yield* scrape)[0]?.value, 2)
      assert.include(yield* (yield* Exposition).text, "# TYPE process_cpu_seconds_total counter")
      end()
      assert.deepStrictEqual(yield* scrape, [])
    }).pipe(Effect.provide(layer))
  )

  it.effect("holds nothing but our names and labels: no target, no scope, no timestamps", () =>
    Effect.gen(function* () {
      const metrics = yield* Metrics
      metrics.rejected({ pool: "p", reason: "queue_full" })(1)
      const text = yield* (yield* Exposition).text
      assert.notInclude(text, "target_info")
      assert.notInclude(text, "otel_scope")
      assert.include(text, '\nweir_requests_rejected_total{pool="p",reason="queue_full"} 1\n')
    }).pipe(Effect.provide(layer))
  )

  it.effect("is readable whatever a configured name is made of", () =>
    Effect.gen(function* () {
      const metrics = yield* Metrics
      metrics.tokens({ pool: "p", model: 'org/model:7b "x"\\\n', kind: "prompt" })(1)
      const [series] = yield* scrape
      assert.strictEqual(series?.labels["model"], 'org/model:7b \\"x\\"\\\\\\n')
    }).pipe(Effect.provide(layer))
  )

  it.effect("says what a metric is once, however many series it has, and every stream goes on meanwhile", () =>
    Effect.gen(function* () {
      const metrics = yield* Metrics
      const backends = Array.from({ length: 1000 }, (_, index) => `engine-${index}`)
      for (const backend of backends) {
        metrics.upstreamDuration({ pool: "p", backend })(0.2)
        metrics.upstreamRequests({ pool: "p", backend })(1)
      }
      let turns = 0
      let next = setImmediate(function turn() {
        turns++
        next = setImmediate(turn)
      })
      const { text } = yield* Exposition
      const page = yield* Effect.ensuring(
        text,
        Effect.sync(() => clearImmediate(next))
      )
      assert.isAtLeast(turns, 15)
      assert.deepStrictEqual(
        page.split("\n").filter((line) => /^# (?:HELP|TYPE)/.test(line)),
        [
          "# HELP weir_upstream_duration_seconds From the attempt to its response head",
          "# TYPE weir_upstream_duration_seconds histogram",
          "# HELP weir_upstream_requests_total Attempts sent to backends",
          "# TYPE weir_upstream_requests_total counter"
        ]
      )
      const told = (name: string) =>
        parse(page).flatMap((each) => (each.name === name && each.value === 1 ? [each.labels["backend"]] : []))
      assert.deepStrictEqual(told("weir_upstream_requests_total"), backends)
      assert.deepStrictEqual(told("weir_upstream_duration_seconds_count"), backends)
    }).pipe(Effect.provide(layer))
  )

  it.effect("is empty and readable before anything happened", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* scrape, [])
      assert.match(Exposition.contentType, /^text\/plain; version=0\.0\.4/)
    }).pipe(Effect.provide(layer))
  )

  it.effect("a scrape of one program says nothing of another in the same process", () =>
    Effect.gen(function* () {
      const program = (count: number) =>
        Effect.gen(function* () {
          const metrics = yield* Metrics
          metrics.sticky({ pool: "p", outcome: "hit" })(count)
          return (yield* scrape).map(({ value }) => value)
        }).pipe(Effect.provide(Layer.fresh(layer)))
      assert.deepStrictEqual(yield* Effect.all([program(1), program(10)], { concurrency: "unbounded" }), [[1], [10]])
    })
  )
})
