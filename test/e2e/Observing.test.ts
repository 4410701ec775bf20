/** What the gateway tells of itself, to whom, and what it never tells. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Simulator } from "../../src/sim/Simulator.ts"
import { ask, chat, errorOf, untilReadyz } from "./Ask.ts"
import { eventually, serve } from "./Program.ts"

const secrets = ["sk-client", "adm-token", "bk-token", "hunter2"]

const setUp = Effect.fnUntraced(function* (config: object = {}) {
  const simulator = yield* Simulator.make()
  const gateway = yield* serve({
    keys: [{ name: "team-a", key: "sk-client" }],
    admin: { token: "adm-token" },
    backends: [
      { name: "engine", url: simulator.url, adapter: "vllm", auth: { type: "bearer", token: "bk-token" } },
      {
        name: "off",
        url: "http://127.0.0.1:9",
        enabled: false,
        headers: [{ op: "insert", name: "x", value: "hunter2" }]
      }
    ],
    ...config
  })
  yield* untilReadyz(gateway.url)
  return { simulator, gateway, url: gateway.url }
})

const client = { authorization: "Bearer sk-client" }
const admin = { authorization: "Bearer adm-token" }

describe("a client without a key", () => {
  it.live("may ask whether the gateway lives and is ready, and learns no address", () =>
    Effect.gen(function* () {
      const { simulator, url } = yield* setUp()
      for (const path of ["/healthz", "/livez", "/ping"]) {
        const answer = yield* ask(url + path)
        assert.deepStrictEqual([answer.status, answer.json], [200, { status: "ok" }])
      }
      for (const path of ["/readyz", "/ready"]) {
        assert.deepInclude((yield* ask(url + path)).json, { status: "ready", healthy: 1, total: 2 })
      }
      const health = yield* ask(`${url}/health`)
      assert.deepInclude(health.json, { status: "ok", strategy: "least_inflight" })
      assert.include(health.text, '{"name":"engine","status":"healthy","state":"healthy"}')
      assert.include(health.text, '{"name":"off","status":"unhealthy","state":"disabled"}')
      assert.notInclude(health.text, new URL(simulator.url).host)
    })
  )

  it.live("may not ask for models, states of backends, or answers", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp()
      for (const path of ["/v1/models", "/stats", "/v1/anything"]) {
        const answer = yield* ask(url + path)
        assert.strictEqual(answer.status, 401, path)
        assert.strictEqual(errorOf(answer).code, "invalid_api_key")
      }
    })
  )
})

describe("/stats", () => {
  it.live("is for the admin token, not for a client's key", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp()
      assert.strictEqual((yield* ask(`${url}/stats`, { headers: client })).status, 401)
      yield* chat(url, { max_tokens: 2 }, client)
      yield* chat(url, { max_tokens: 2, stream: true }, client)
      const stats = yield* ask(`${url}/stats`, { headers: admin })
      assert.nestedPropertyVal(stats.json, "backends[0].requests", 2)
      assert.nestedPropertyVal(stats.json, "backends[0].inflight", 0)
      assert.nestedPropertyVal(stats.json, "backends[0].circuit", "closed")
      assert.nestedProperty(stats.json, "backends[0].ttft_ms.p95")
    })
  )
})

describe("/metrics", () => {
  it.live("has the contract's names with labels from configured names only", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp()
      yield* chat(url, { max_tokens: 2 }, client)
      yield* chat(url, { max_tokens: 2, stream: true }, client)
      yield* chat(url, { model: "<script>made-up" }, client)
      const { headers, text } = yield* ask(`${url}/metrics`)
      assert.match(headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/)
      const expected = [
        'weir_http_requests_total{listener="public",route="/v1/chat/completions",method="POST",status="200"} 2',
        'weir_http_errors_total{listener="public",code="model_not_found",status="404"} 1',
        'weir_upstream_requests_total{pool="default",backend="engine"} 2',
        'weir_tokens_total{pool="default",model="sim-model",kind="completion"}',
        'weir_stream_ends_total{pool="default",end="complete"} 1',
        'weir_time_to_first_token_seconds_count{pool="default",model="sim-model"} 1',
        'weir_backend_inflight{backend="engine"} 0',
        'weir_backend_healthy{backend="engine"} 1',
        'weir_circuitbreaker_state{backend="engine"} 0',
        'weir_queue_depth{pool="default"} 0',
        'weir_queue_wait_seconds_count{pool="default"}',
        "weir_overhead_seconds_count",
        "process_resident_memory_bytes"
      ]
      for (const line of expected) assert.include(text, line)
      assert.notInclude(text, "made-up")
    })
  )

  it.live("is behind the admin token where it is not public, and on the admin port where there is one", () =>
    Effect.gen(function* () {
      const { gateway, url } = yield* setUp({ admin: { token: "adm-token", publicMetrics: false, port: 0 } })
      yield* eventually(
        Effect.sync(() => (gateway.urlOf("admin").endsWith("undefined") ? undefined : true)),
        () => "an admin surface"
      )
      const surface = gateway.urlOf("admin")
      assert.strictEqual((yield* ask(`${surface}/metrics`)).status, 401)
      assert.strictEqual((yield* ask(`${surface}/metrics`, { headers: admin })).status, 200)
      assert.strictEqual((yield* ask(`${surface}/v1/models`, { headers: admin })).status, 404)
      const onTheListener = yield* ask(`${url}/metrics`, { headers: client })
      assert.strictEqual(onTheListener.headers.get("x-routed-node"), "engine")
    })
  )
})

describe("secrets", () => {
  it.live("are in no log line, no answer and no metric", () =>
    Effect.gen(function* () {
      const { gateway, url } = yield* setUp()
      const answers = yield* Effect.all([
        chat(url, { max_tokens: 1 }, client),
        chat(url, { max_tokens: 1 }, { authorization: "Bearer sk-wrong-guess" }),
        ask(`${url}/health`),
        ask(`${url}/stats`, { headers: admin }),
        ask(`${url}/metrics`),
        ask(`${url}/v1/models`, { headers: client })
      ])
      yield* gateway.signal("SIGTERM")
      yield* gateway.ended
      const told = [...answers.map(({ headers, text }) => text + JSON.stringify([...headers])), ...gateway.stderr].join(
        "\n"
      )
      for (const secret of [...secrets, "sk-wrong-guess"]) assert.notInclude(told, secret)
    })
  )
})

describe("the log", () => {
  it.live("has one JSON object for each request, with its id", () =>
    Effect.gen(function* () {
      const { gateway, url } = yield* setUp()
      yield* chat(url, { max_tokens: 1 }, { ...client, "x-request-id": "my-id-1" })
      yield* chat(url, { max_tokens: 1 }, { ...client, "x-request-id": "not valid!" })
      const line = yield* eventually(
        Effect.sync(() => gateway.stderr.find((each) => each.includes('"my-id-1"'))),
        () => gateway.stderr.join("\n")
      )
      const { backend, level, message, status } = JSON.parse(line)
      assert.deepStrictEqual([level, message, status, backend], ["info", "request", 200, "engine"])
      assert.notInclude(gateway.stderr.join("\n"), "not valid!")
      for (const each of gateway.stderr) assert.isObject(JSON.parse(each))
    })
  )
})
